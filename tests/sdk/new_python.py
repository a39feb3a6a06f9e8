"""The new Python SDK (alibabacloud_cloudauth20190307): ACS3 headers by default, or "v2"."""

import base64
import json
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from alibabacloud_cloudauth20190307.client import Client
from alibabacloud_cloudauth20190307.models import (
    DeleteFaceVerifyResultRequest,
    DescribeFaceVerifyRequest,
    DescribeVerifyResultRequest,
    DescribeVerifySearchPageListRequest,
    DescribeVerifyTokenRequest,
    InitFaceVerifyRequest,
)
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


# The form of a start is larger than one piece of a chunked body.
PICTURE = base64.b64encode(b"\xff\xd8\xff" + bytes(600_000)).decode()
START = json.loads((pathlib.Path(__file__).parent / "face_verify.json").read_text())


def start(signature, order_number):
    parameters = {**START, "OuterOrderNo": order_number, "FaceContrastPicture": PICTURE}
    return client(signature).init_face_verify(InitFaceVerifyRequest().from_map(parameters)).body


def describe(signature, certify_id):
    request = DescribeFaceVerifyRequest(scene_id=int(START["SceneId"]), certify_id=certify_id)
    return client(signature).describe_face_verify(request).body


def delete(signature, certify_id):
    request = DeleteFaceVerifyResultRequest(certify_id=certify_id, delete_after_query="Y")
    return client(signature).delete_face_verify_result(request).body.result_object


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def press(certify_url, button):
    """Presses a button of the hosted page; where it leads."""
    with urllib.request.urlopen(certify_url) as page:
        form = page.read().decode()
    action = re.search(r'action="([^"]+)"', form).group(1).replace("&amp;", "&")
    assert f'id="{button}"' in form, form
    body = urllib.parse.urlencode({"result": button, "code": "205"}).encode()
    try:
        urllib.request.build_opener(NoRedirect).open(f"http://{address}{action}", body)
    except urllib.error.HTTPError as error:
        assert error.code == 303, error
        return error.headers["Location"]
    raise AssertionError("no redirect")


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

    # face-verify: started, submitted on its page, fetched, erased.
    started = start(signature, f"order{signature}").result_object
    assert describe(signature, started.certify_id).code == "424"
    back = press(started.certify_url, "fail")
    assert back.startswith("https://app.example.invalid/back?to=a%20b&x=~*&response=%7B%22code%22%3A2006"), back
    described = describe(signature, started.certify_id).result_object
    assert (described.passed, described.sub_code) == ("F", "205"), described
    assert json.loads(described.material_info)["faceAttack"] == "T", described
    search = DescribeVerifySearchPageListRequest(outer_order_no=f"order{signature}")
    found = client(signature).describe_verify_search_page_list(search).body
    assert found.items[-1].certify_id == started.certify_id and found.items[-1].sub_code == "205", found
    assert delete(signature, started.certify_id).delete_result == "Y"
    assert delete(signature, started.certify_id).fail_reason == "NOT_DELETE_REPEATEDLY"
    assert delete(signature, f"fv-200-{tag}").fail_reason == "NEED_QUERY_VERIFY_RESULT"
    assert describe(signature, f"fv-210-{tag}").result_object.sub_code == "210"
    assert start(signature, "init417").code == "417"
    try:
        raise AssertionError(describe(signature, f"fv-424-ashttp-{tag}"))
    except AssertionError:
        raise
    except Exception as error:
        assert error.code == "424", repr(error)

print("new_python.py: pass, 7, -1, token, DataExpired, wrong secret, face-verify: as expected by v3 and v2")
