// The old Node SDK (@alicloud/pop-core): RPC signatures, as a form by POST and as a query by GET.
'use strict';

const assert = require('node:assert/strict');
const { RPCClient } = require('@alicloud/pop-core');

const [address, accessKeyId, accessKeySecret] = process.argv.slice(2);

function ask(method, BizId, secret = accessKeySecret, action = 'DescribeVerifyResult') {
  const client = new RPCClient({
    accessKeyId,
    accessKeySecret: secret,
    endpoint: `http://${address}`,
    apiVersion: '2019-03-07',
  });
  return client.request(action, { BizType: 'SdkProof', BizId }, { method });
}

async function main() {
  for (const method of ['POST', 'GET']) {
    const tag = `u-popcore${method.toLowerCase()}`;
    const passed = await ask(method, `pass-96.5-${tag}`);
    assert.equal(passed.VerifyStatus, 1);
    assert.equal(passed.AuthorityComparisionScore, 96.5);
    assert.match(passed.Material.IdCardNumber, /^000000/);
    const failed = await ask(method, `status-7-12.5-${tag}`);
    assert.deepEqual([failed.VerifyStatus, failed.AuthorityComparisionScore], [7, 12.5]);
    const minusOne = await ask(method, `quit-${tag}`);
    assert.equal(minusOne.VerifyStatus, -1);
    assert.equal(minusOne.Material, undefined);
    assert.equal((await ask(method, "pass-u~*+ !'()/订单")).VerifyStatus, 1);
    const token = await ask(method, `pass-${tag}`, accessKeySecret, 'DescribeVerifyToken');
    assert.match(token.VerifyToken, /^[0-9a-f]{32}$/);

    await assert.rejects(ask(method, `expired-${tag}`), { code: 'DataExpired' });
    await assert.rejects(ask(method, `pass-${tag}`, 'wrong'), { code: /^SignatureDoesNotMatch/ });
  }
  console.log('pop_core.js: pass, 7, -1, token, DataExpired, wrong secret: as expected by POST and GET');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
