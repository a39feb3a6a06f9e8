// The new Node SDK (@alicloud/cloudauth20190307): ACS3 headers by default, or "v2".
'use strict';

const assert = require('node:assert/strict');
const Cloudauth = require('@alicloud/cloudauth20190307');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

const [address, accessKeyId, accessKeySecret] = process.argv.slice(2);

async function ask(signatureAlgorithm, bizId, secret = accessKeySecret) {
  const config = new $OpenApiUtil.Config({
    accessKeyId,
    accessKeySecret: secret,
    endpoint: address,
    protocol: 'http',
    signatureAlgorithm,
  });
  const client = new Cloudauth.default(config);
  const request = new Cloudauth.DescribeVerifyResultRequest({ bizType: 'SdkProof', bizId });
  return (await client.describeVerifyResult(request)).body;
}

async function main() {
  for (const signature of [undefined, 'v2']) {
    const tag = `u-newnode${signature || 'v3'}`;
    const passed = await ask(signature, `pass-96.5-${tag}`);
    assert.equal(passed.verifyStatus, 1);
    assert.equal(passed.authorityComparisionScore, 96.5);
    assert.match(passed.material.idCardInfo.number, /^000000/);
    const failed = await ask(signature, `status-7-12.5-${tag}`);
    assert.deepEqual([failed.verifyStatus, failed.authorityComparisionScore], [7, 12.5]);
    const minusOne = await ask(signature, `quit-${tag}`);
    assert.equal(minusOne.verifyStatus, -1);
    assert.equal(minusOne.material, undefined);
    assert.equal((await ask(signature, "pass-u~*+ !'()/订单")).verifyStatus, 1);

    await assert.rejects(ask(signature, `expired-${tag}`), { code: 'DataExpired' });
    await assert.rejects(ask(signature, `pass-${tag}`, 'wrong'), { code: 'SignatureDoesNotMatch' });
  }
  console.log('new_node.js: pass, 7, -1, DataExpired, wrong secret: as expected by v3 and v2');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
