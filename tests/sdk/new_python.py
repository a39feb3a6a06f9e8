"""The new Python SDK (alibabacloud_cloudauth20190307): ACS3 headers by default, or "v2"."""

import sys

from alibabacloud_cloudauth20190307.client import Client
from alibabacloud_cloudauth20190307.models import DescribeVerifyResultRequest, DescribeVerifyTokenRequest
from alibabacloud_tea_openapi.models import Config

address, key_id, secret = sys.argv[1:4]


def client(signature, secret=secret):
    return Client(
        Config(
            access_key_id=key_id,
            access_key_secret=secret,
            endpoint=address,
            protocol="http",
            signature_algorithm=signature,
        )
    )


def ask(signature, biz_id, secret=secret):
    request = DescribeVerifyResultRequest(biz_type="SdkProof", biz_id=biz_id)
    return client(signature, secret).describe_verify_result(request).body


def refusal(*args, **kwargs):
    try:
        answer = ask(*args, **kwargs)
    except Exception as error:  # The SDK has several classes, all with a code.
        return error
    raise AssertionError(f"answered {answer}")


for signature in (None, "v2"):
    tag = f"u-newpython{signature or 'v3'}"
    passed = ask(signature, f"pass-96.5-{tag}")
    assert passed.verify_status == 1, passed
    assert passed.authority_comparision_score == 96.5, passed
    assert passed.material.id_card_info.number.startswith("000000"), passed
    assert passed.request_id == passed.request_id.upper(), passed
    failed = ask(signature, f"status-7-12.5-{tag}")
    assert (failed.verify_status, failed.authority_comparision_score) == (7, 12.5), failed
    minus_one = ask(signature, f"quit-{tag}")
    assert minus_one.verify_status == -1 and minus_one.material is None, minus_one
    assert ask(signature, "pass-u~*+ !'()/订单").verify_status == 1
    request = DescribeVerifyTokenRequest(biz_type="SdkProof", biz_id=f"pass-{tag}")
    token = client(signature).describe_verify_token(request).body
    assert len(token.verify_token) == 32, token

    expired = refusal(signature, f"expired-{tag}")
    assert expired.code == "DataExpired", repr(expired)
    wrong = refusal(signature, f"pass-{tag}", secret="wrong")
    assert wrong.code == "SignatureDoesNotMatch", repr(wrong)

print("new_python.py: pass, 7, -1, token, DataExpired, wrong secret: as expected by v3 and v2")
