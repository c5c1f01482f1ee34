"""HTTP APIs from plain CloudFormation resources answer as API Gateway does."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, unique

ECHO = """
import json, time
def handler(event, context):
    if event["rawPath"].endswith("/fail"): raise ValueError("secret detail")
    if event["rawPath"].endswith("/slow"): time.sleep(3)
    if event["rawPath"].endswith("/plain"): return {"just": "json"}
    if event["rawPath"].endswith("/binary"):
        headers = {"content-type": "application/octet-stream", "x-made": "1"}
        return {"statusCode": 201, "body": "AAEC", "isBase64Encoded": True, "headers": headers}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""


def template(function: str, authorization: str = "NONE") -> dict[str, Any]:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    resources: dict[str, Any] = {
        "RecommendationsApi": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "api", "ProtocolType": "HTTP"}},
        "Stage": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {
                "ApiId": {"Ref": "RecommendationsApi"},
                "StageName": "$default",
                "AutoDeploy": True,
                "DefaultRouteSettings": {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20},
            },
        },
        "Integration": {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": "RecommendationsApi"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {
                    "Fn::Sub": f"arn:aws:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/{arn}/invocations"
                },
                "PayloadFormatVersion": "2.0",
                "TimeoutInMillis": 1500,
            },
        },
    }
    for name, key in {
        "Get": "GET /users/{userId}/orders",
        "Post": "POST /rankings",
        "Health": "GET /health",
        "Any": "GET /do/{what}",
    }.items():
        resources[name] = {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": "RecommendationsApi"},
                "RouteKey": key,
                "Target": {"Fn::Sub": "integrations/${Integration}"},
                "AuthorizationType": authorization,
            },
        }
    return {"Resources": resources, "Outputs": {"ApiId": {"Value": {"Ref": "RecommendationsApi"}}}}


def deploy(host: Host, body: dict[str, Any]) -> str:
    """Creates the stack and returns the URL of the API."""
    cloudformation, name = host.client("cloudformation"), unique("api")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return f"{host.endpoint}/_aws/execute-api/{outputs[0]['OutputValue']}/$default"


@pytest.fixture(scope="module")
def echo(host: Host) -> str:
    return host.function(ECHO)


@pytest.fixture(scope="module")
def url(host: Host, echo: str) -> str:
    return deploy(host, template(echo))


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(
        url, data=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def test_a_function_gets_an_event_of_format_2_0(url: str) -> None:
    status, _, body = ask(
        f"{url}/users/a%20b%C3%A9/orders?numResults=10&excludeSeen=true&tag=a&tag=b",
        cookie="one=1; two=2",
        X_Own="x",
    )
    event = json.loads(body)
    assert status == 200
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /users/{userId}/orders"
    assert event["pathParameters"] == {"userId": "a bé"}
    assert event["queryStringParameters"] == {"numResults": "10", "excludeSeen": "true", "tag": "a,b"}
    assert event["rawQueryString"] == "numResults=10&excludeSeen=true&tag=a&tag=b"
    assert event["cookies"] == ["one=1", "two=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-own"] == "x"
    assert event["isBase64Encoded"] is False and "body" not in event
    assert event["requestContext"]["http"]["method"] == "GET" and event["requestContext"]["stage"] == "$default"


def test_a_slash_in_a_path_is_decoded_before_the_route_is_found_but_a_query_is_left_as_it_was_sent(url: str) -> None:
    assert ask(f"{url}/users/a%2Fb/orders")[0] == 404
    event = json.loads(ask(f"{url}/health?userId=a%2Fb%2Bc%25+%3F%23&category=Home%2C%20Garden&category=x")[2])
    assert event["rawQueryString"] == "userId=a%2Fb%2Bc%25+%3F%23&category=Home%2C%20Garden&category=x"


def test_what_is_absent_is_left_out_of_the_event(url: str) -> None:
    event = json.loads(ask(f"{url}/health")[2])
    assert not {"pathParameters", "queryStringParameters", "body", "cookies"} & set(event)


def test_a_json_body_is_text_and_another_is_base64(url: str) -> None:
    text = json.loads(ask(f"{url}/rankings", b'{"userId": "1"}', Content_Type="application/json")[2])
    assert (text["body"], text["isBase64Encoded"]) == ('{"userId": "1"}', False)
    binary = json.loads(ask(f"{url}/rankings", b"\x00\xff", Content_Type="application/octet-stream")[2])
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (b"\x00\xff", True)


def test_answers_of_each_form_are_sent(url: str) -> None:
    status, headers, body = ask(f"{url}/do/plain")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"just": "json"})
    status, headers, body = ask(f"{url}/do/binary")
    assert (status, headers["content-type"], headers["x-made"], body) == (
        201,
        "application/octet-stream",
        "1",
        b"\x00\x01\x02",
    )


def test_an_unknown_route_is_404(url: str) -> None:
    status, headers, body = ask(f"{url}/nothing")
    assert (status, headers["content-type"], json.loads(body)) == (404, "application/json", {"message": "Not Found"})
    assert ask(f"{url}/health", b"{}")[0] == 404
    assert ask(url.replace("execute-api/", "execute-api/0000"))[0] == 404


def test_a_function_that_fails_is_500_and_one_that_is_too_slow_503(url: str) -> None:
    assert ask(f"{url}/do/fail")[0::2] == (500, b'{"message":"Internal Server Error"}')
    assert ask(f"{url}/do/slow")[0::2] == (503, b'{"message":"Service Unavailable"}')


def test_a_throttled_function_is_503(host: Host) -> None:
    name = host.function("def handler(e, c): return 1")
    host.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert ask(f"{deploy(host, template(name))}/health")[0] == 503


def test_a_route_with_iam_refuses_the_unsigned_and_takes_the_signed(host: Host, echo: str) -> None:
    import boto3
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    url = f"{deploy(host, template(echo, 'AWS_IAM'))}/health"
    status, _, body = ask(url)
    assert (status, json.loads(body)) == (403, {"message": "Forbidden"})
    credentials = boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="local").get_credentials()
    request = AWSRequest("GET", url)
    SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    assert ask(url, None, **{name.replace("-", "_"): value for name, value in request.headers.items()})[0] == 200


def test_routes_of_an_openapi_body_are_served(host: Host, echo: str) -> None:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{echo}"
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, "payloadFormatVersion": "2.0"}
    body = {
        "openapi": "3.0.1",
        "info": {"title": "shop", "version": "1"},
        "paths": {"/items/{itemId}/related": {"get": {"x-amazon-apigateway-integration": integration}}},
    }
    resources = {
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Body": body}},
        "Stage": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True},
        },
    }
    url = deploy(host, {"Resources": resources, "Outputs": {"ApiId": {"Value": {"Ref": "Api"}}}})
    assert json.loads(ask(f"{url}/items/7/related")[2])["pathParameters"] == {"itemId": "7"}
    assert ask(f"{url}/items")[0] == 404
