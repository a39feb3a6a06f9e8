"""The old Python SDK (aliyun-python-sdk-core): RPC signatures, by POST and by GET."""

import base64
import json
import pathlib
import sys

from aliyunsdkcloudauth.request.v20190307.DeleteFaceVerifyResultRequest import DeleteFaceVerifyResultRequest
from aliyunsdkcloudauth.request.v20190307.DescribeFaceVerifyRequest import DescribeFaceVerifyRequest
from aliyunsdkcloudauth.request.v20190307.DescribeVerifyResultRequest import DescribeVerifyResultRequest
from aliyunsdkcloudauth.request.v20190307.DescribeVerifyTokenRequest import DescribeVerifyTokenRequest
from aliyunsdkcloudauth.request.v20190307.InitFaceVerifyRequest import InitFaceVerifyRequest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient

address, key_id, secret = sys.argv[1:4]


# The form of a start is larger than one piece of a chunked body.
PICTURE = base64.b64encode(b"\xff\xd8\xff" + bytes(600_000)).decode()
START = json.loads((pathlib.Path(__file__).parent / "face_verify.json").read_text())


def send(request, method, secret=secret, **parameters):
    client = AcsClient(key_id, secret, "cn-hangzhou")
    request.set_endpoint(address)
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in parameters.items():
        getattr(request, f"set_{name}")(value)
    return json.loads(client.do_action_with_exception(request))


def ask(biz_id, method, secret=secret, kind=DescribeVerifyResultRequest):
    return send(kind(), method, secret, BizType="SdkProof", BizId=biz_id)


def start(order_number, method="POST", **parameters):
    return send(InitFaceVerifyRequest(), method, OuterOrderNo=order_number, **START, **parameters)


def describe(certify_id, method):
    return send(DescribeFaceVerifyRequest(), method, SceneId=START["SceneId"], CertifyId=certify_id)


def delete(certify_id, method):
    return send(DeleteFaceVerifyResultRequest(), method, CertifyId=certify_id)["ResultObject"]


def refusal(*args, **kwargs):
    try:
        answer = ask(*args, **kwargs)
    except ServerException as error:
        return error
    raise AssertionError(f"answered {answer}")


for method in ("POST", "GET"):
    tag = f"u-oldpython{method.lower()}"
    passed = ask(f"pass-96.5-{tag}", method)
    assert passed["VerifyStatus"] == 1, passed
    assert passed["AuthorityComparisionScore"] == 96.5, passed
    assert passed["Material"]["IdCardNumber"].startswith("000000"), passed
    failed = ask(f"status-7-12.5-{tag}", method)
    assert (failed["VerifyStatus"], failed["AuthorityComparisionScore"]) == (7, 12.5), failed
    minus_one = ask(f"quit-{tag}", method)
    assert minus_one["VerifyStatus"] == -1 and "Material" not in minus_one, minus_one
    # Characters that encoders treat differently must survive the signature.
    assert ask("pass-u~*+ !'()/订单", method)["VerifyStatus"] == 1
    token = ask(f"pass-{tag}", method, kind=DescribeVerifyTokenRequest)
    assert len(token["VerifyToken"]) == 32, token

    expired = refusal(f"expired-{tag}", method)
    assert (expired.http_status, expired.error_code) == (410, "DataExpired"), expired
    # This SDK says so only if the string to sign that the server echoes equals its own; any other
    # difference it passes on as SignatureDoesNotMatch.
    wrong = refusal(f"pass-{tag}", method, secret="wrong")
    assert (wrong.http_status, wrong.error_code) == (400, "InvalidAccessKeySecret"), wrong

    # face-verify: the picture goes into the form, all else into the query.
    started = start(f"sub204u{method}", FaceContrastPicture=PICTURE)["ResultObject"]
    assert started["CertifyUrl"].startswith(f"http://{address}/s/"), started
    described = describe(started["CertifyId"], method)["ResultObject"]
    assert (described["Passed"], described["SubCode"]) == ("F", "204"), described
    assert "verifyScore" in json.loads(described["MaterialInfo"])["facialPictureFront"], described
    assert delete(started["CertifyId"], method)["DeleteResult"] == "Y"
    assert delete(started["CertifyId"], method)["FailReason"] == "NOT_DELETE_REPEATEDLY"
    assert start(f"init417u{method}", FaceContrastPicture=PICTURE)["Code"] == "417"
    assert describe(f"fv-424-{method}", method)["Code"] == "424"
    try:
        raise AssertionError(describe(f"fv-424-ashttp-{method}", method))
    except ServerException as error:
        assert (error.http_status, error.error_code) == (424, "424"), error

print("old_python.py: pass, 7, -1, token, DataExpired, wrong secret, face-verify: as expected by POST and GET")
