// The new Node SDK (@alicloud/cloudauth20190307): ACS3 headers by default, or "v2".
'use strict';

const assert = require('node:assert/strict');
const Cloudauth = require('@alicloud/cloudauth20190307');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

const [address, accessKeyId, accessKeySecret] = process.argv.slice(2);

// This SDK sends a form in chunks, without its length.
const picture = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.alloc(600000)]).toString('base64');
const start = require('./face_verify.json');

function clientOf(signatureAlgorithm, secret = accessKeySecret) {
  const config = new $OpenApiUtil.Config({
    accessKeyId,
    accessKeySecret: secret,
    endpoint: address,
    protocol: 'http',
    signatureAlgorithm,
  });
  return new Cloudauth.default(config);
}

async function ask(signatureAlgorithm, bizId, secret) {
  const client = clientOf(signatureAlgorithm, secret);
  const request = new Cloudauth.DescribeVerifyResultRequest({ bizType: 'SdkProof', bizId });
  return (await client.describeVerifyResult(request)).body;
}

async function faceVerify(signature, tag) {
  const client = clientOf(signature);
  const begin = (outerOrderNo) => {
    const request = new Cloudauth.InitFaceVerifyRequest({ outerOrderNo, faceContrastPicture: picture });
    for (const [name, value] of Object.entries(start)) request[name[0].toLowerCase() + name.slice(1)] = value;
    return client.initFaceVerify(request);
  };
  const describe = (certifyId) =>
    client.describeFaceVerify(new Cloudauth.DescribeFaceVerifyRequest({ sceneId: Number(start.SceneId), certifyId }));
  const erase = (certifyId) =>
    client.deleteFaceVerifyResult(new Cloudauth.DeleteFaceVerifyResultRequest({ certifyId }));

  const { certifyId, certifyUrl } = (await begin('sub204u1')).body.resultObject;
  assert.match(certifyUrl, /^http:.*\/s\//);
  const described = (await describe(certifyId)).body.resultObject;
  assert.deepEqual([described.passed, described.subCode], ['F', '204']);
  assert.ok(JSON.parse(described.materialInfo).facialPictureFront.verifyScore);
  assert.equal((await erase(certifyId)).body.resultObject.deleteResult, 'Y');
  assert.equal((await erase(certifyId)).body.resultObject.failReason, 'NOT_DELETE_REPEATEDLY');
  assert.equal((await begin('init417')).body.code, '417');
  assert.equal((await describe(`fv-424-${tag}`)).body.code, '424');
  assert.equal((await describe(`fv-204-numbers-${tag}`)).body.resultObject.subCode, '204');
  await assert.rejects(describe(`fv-424-ashttp-${tag}`), { code: '424' });
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

    await faceVerify(signature, tag);

    await assert.rejects(ask(signature, `expired-${tag}`), { code: 'DataExpired' });
    await assert.rejects(ask(signature, `pass-${tag}`, 'wrong'), { code: 'SignatureDoesNotMatch' });
  }
  console.log('new_node.js: pass, 7, -1, DataExpired, wrong secret, face-verify: as expected by v3 and v2');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
