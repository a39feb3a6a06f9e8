"""The old Python SDK (aliyun-python-sdk-core): RPC signatures, by POST and by GET."""

import json
import sys

from aliyunsdkcloudauth.request.v20190307.DescribeVerifyResultRequest import DescribeVerifyResultRequest
from aliyunsdkcloudauth.request.v20190307.DescribeVerifyTokenRequest import DescribeVerifyTokenRequest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient

address, key_id, secret = sys.argv[1:4]


def ask(biz_id, method, secret=secret, kind=DescribeVerifyResultRequest):
    client = AcsClient(key_id, secret, "cn-hangzhou")
    request = kind()
    request.set_endpoint(address)
    request.set_protocol_type("http")
    request.set_method(method)
    request.set_BizType("SdkProof")
    request.set_BizId(biz_id)
    return json.loads(client.do_action_with_exception(request))


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

print("old_python.py: pass, 7, -1, token, DataExpired, wrong secret: as expected by POST and GET")
