// The old Node SDK (@alicloud/pop-core): RPC signatures, as a form by POST and as a query by GET.
'use strict';

const assert = require('node:assert/strict');
const { RPCClient } = require('@alicloud/pop-core');

const [address, accessKeyId, accessKeySecret] = process.argv.slice(2);

// The form of a start is larger than one piece of a chunked body.
const picture = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.alloc(600000)]).toString('base64');
const start = require('./face_verify.json');

function ask(method, BizId, secret = accessKeySecret, action = 'DescribeVerifyResult') {
  return send(method, action, { BizType: 'SdkProof', BizId }, secret);
}

function send(method, action, parameters, secret = accessKeySecret) {
  const client = new RPCClient({
    accessKeyId,
    accessKeySecret: secret,
    endpoint: `http://${address}`,
    apiVersion: '2019-03-07',
  });
  return client.request(action, parameters, { method });
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

    // face-verify: by POST everything is in the form, the picture included.
    const OuterOrderNo = `sub204u${method}`;
    const started = await send('POST', 'InitFaceVerify', { ...start, OuterOrderNo, FaceContrastPicture: picture });
    const { CertifyId, CertifyUrl } = started.ResultObject;
    assert.match(CertifyUrl, /^http:.*\/s\//);
    const query = { SceneId: start.SceneId, CertifyId };
    const described = (await send(method, 'DescribeFaceVerify', query)).ResultObject;
    assert.deepEqual([described.Passed, described.SubCode], ['F', '204']);
    assert.ok(JSON.parse(described.MaterialInfo).facialPictureFront.verifyScore);
    const erase = () => send(method, 'DeleteFaceVerifyResult', { CertifyId });
    assert.equal((await erase()).ResultObject.DeleteResult, 'Y');
    assert.equal((await erase()).ResultObject.FailReason, 'NOT_DELETE_REPEATEDLY');
    // This SDK takes every body code but 200 for an error.
    await assert.rejects(send(method, 'DescribeFaceVerify', query), { code: '406' });
    const refused = { ...start, OuterOrderNo: `init417u${method}`, FaceContrastPicture: picture };
    await assert.rejects(send('POST', 'InitFaceVerify', refused), { code: '417' });
  }
  console.log('pop_core.js: pass, 7, -1, token, DataExpired, wrong secret, face-verify: as expected by POST and GET');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
