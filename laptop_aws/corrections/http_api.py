"""HTTP APIs (API Gateway v2): the event that a function receives, the answer when it fails, and OpenAPI bodies."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
from functools import partial
from typing import Any

from ministack.services import apigateway

from laptop_aws.correction import corrects
from laptop_aws.corrections.cloudformation import HANDLERS

logger = logging.getLogger("emulator")

API_TYPE = "AWS::ApiGatewayV2::Api"
DEFAULT_TIMEOUT_MILLISECONDS = 30_000
MAXIMUM_BODY_BYTES = 10 * 1024 * 1024
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
ANY_METHOD = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
CORS = "x-amazon-apigateway-cors"
JSON = {"Content-Type": "application/json"}

_for_http_api: contextvars.ContextVar[bool] = contextvars.ContextVar("_for_http_api", default=False)


Response = tuple[int, dict[str, str], bytes]


@corrects(
    "ministack.services.apigateway:run_reentrant",
    source="bd6c9a9940ab",
    aws="an event of format 2.0 omits pathParameters when the route has none, and lists cookies separately",
    ministack="gives null, and cookies as a header",
    test="test_a_function_gets_an_event_of_format_2_0",
)
async def run_with_event(stock: Any, function: Any, *arguments: Any, **named: Any) -> Any:
    if len(arguments) == 2 and isinstance(arguments[1], dict) and arguments[1].get("version") == "2.0":
        event = arguments[1]
        if event.get("pathParameters") is None:
            event.pop("pathParameters", None)
        cookie = event.get("headers", {}).pop("cookie", None)
        if cookie:
            event["cookies"] = [part.strip() for part in cookie.split(";")]
    return await stock(function, *arguments, **named)


@corrects(
    "ministack.services.apigateway:_invoke_lambda_proxy",
    source="fbe5024fcd36",
    aws="a function that takes longer than the integration's timeout (30 s) is answered 503, a body above 10 MB 413",
    ministack="waits, and accepts any size",
    test="test_a_function_that_fails_is_500_and_one_that_is_too_slow_503",
)
async def invoke_proxy(stock: Any, integration: dict[str, Any], *arguments: Any, **named: Any) -> Response:
    body = arguments[5] if len(arguments) > 5 else named.get("body")
    if body and len(body) > MAXIMUM_BODY_BYTES:
        return 413, dict(JSON), b'{"message":"Request Entity Too Large"}'
    _for_http_api.set(True)
    seconds = float(integration.get("timeoutInMillis") or DEFAULT_TIMEOUT_MILLISECONDS) / 1000
    task = asyncio.ensure_future(stock(integration, *arguments, **named))
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        return 503, dict(JSON), b'{"message":"Service Unavailable"}'
    response: Response = task.result()
    if response[0] == 502 and b"not found" in response[2]:
        return 500, dict(JSON), b'{"message":"Internal Server Error"}'
    return response


@corrects(
    "ministack.services.lambda_svc:lambda_execute_result_to_api_proxy_response",
    source="36f0ed215e85",
    aws="the caller of an HTTP API whose function fails gets 500 and a fixed text, a throttled one 503",
    ministack="502 with the function's error and stack trace",
    test="test_a_throttled_function_is_503",
)
def shape_response(stock: Any, result: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    if _for_http_api.get() and result.get("error"):
        status, text = (503, "Service Unavailable") if result.get("throttle") else (500, "Internal Server Error")
        body = json.dumps({"message": text}, separators=(",", ":"))
        return {"statusCode": status, "headers": JSON, "body": body}, None
    shaped: tuple[dict[str, Any], str | None] = stock(result)
    return shaped


# ---- OpenAPI ----


_body_imported = partial(
    corrects,
    aws="an AWS::ApiGatewayV2::Api with Body (what AWS::Serverless::HttpApi becomes) has the routes of that OpenAPI "
    "document",
    ministack="it has none, every call is 404",
    test="test_routes_of_an_openapi_body_are_served",
)


@_body_imported(f"{HANDLERS}[{API_TYPE}][create]", source="0002e18b4198")
def create_api(stock: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Any:
    body = properties.get("Body")
    if isinstance(body, dict):
        title = (body.get("info") or {}).get("title") or logical_id
        properties = {"Name": title, "ProtocolType": "HTTP", **properties}
    physical_id, attributes = stock(logical_id, properties, stack)
    if isinstance(body, dict):
        _import(physical_id, body)
    return physical_id, attributes


@_body_imported(f"{HANDLERS}[{API_TYPE}][update]", source="d12d60c12ed7")
def update_api(stock: Any, physical_id: str, old: Any, new: dict[str, Any], *rest: Any) -> Any:
    new_id, attributes = stock(physical_id, old, new, *rest)
    if isinstance(new.get("Body"), dict):
        apigateway._routes[new_id] = {}
        apigateway._integrations[new_id] = {}
        _import(new_id, new["Body"])
    return new_id, attributes


def _import(api_id: str, body: dict[str, Any]) -> None:
    authorizers = _import_authorizers(api_id, body)
    for path, operations in (body.get("paths") or {}).items():
        for method, operation in operations.items():
            if method in (*METHODS, ANY_METHOD) and isinstance(operation.get(INTEGRATION), dict):
                key = "ANY" if method == ANY_METHOD else method.upper()
                _add_route(api_id, "$default" if path == "/$default" else f"{key} {path}", operation, authorizers)
    cors = body.get(CORS)
    if cors:
        apigateway._apis[api_id]["corsConfiguration"] = {
            name[0].lower() + name[1:]: value for name, value in cors.items()
        }


def _import_authorizers(api_id: str, body: dict[str, Any]) -> dict[str, str]:
    made = {}
    for name, scheme in ((body.get("components") or {}).get("securitySchemes") or {}).items():
        settings = scheme.get("x-amazon-apigateway-authorizer") or {}
        if settings.get("type") != "jwt":
            continue
        source = settings.get("identitySource", "$request.header.Authorization")
        _, _, answer = apigateway._create_authorizer(
            api_id,
            {
                "name": name,
                "authorizerType": "JWT",
                "identitySource": [source] if isinstance(source, str) else source,
                "jwtConfiguration": settings.get("jwtConfiguration", {}),
            },
        )
        made[name] = json.loads(answer)["authorizerId"]
    return made


def _add_route(api_id: str, key: str, operation: dict[str, Any], authorizers: dict[str, str]) -> None:
    integration = operation[INTEGRATION]
    uri = integration.get("uri", "")
    function = re.search(r"functions/(arn:[^/]+)/invocations", uri)
    _, _, answer = apigateway._create_integration(
        api_id,
        {
            "integrationType": (integration.get("type") or "aws_proxy").upper(),
            "integrationUri": function.group(1) if function else uri,
            "integrationMethod": integration.get("httpMethod", "POST"),
            "payloadFormatVersion": integration.get("payloadFormatVersion", "2.0"),
            **({"timeoutInMillis": integration["timeoutInMillis"]} if "timeoutInMillis" in integration else {}),
        },
    )
    route: dict[str, Any] = {"routeKey": key, "target": f"integrations/{json.loads(answer)['integrationId']}"}
    for requirement in operation.get("security") or []:
        for name, scopes in requirement.items():
            if name in authorizers:
                route |= {"authorizationType": "JWT", "authorizerId": authorizers[name], "authorizationScopes": scopes}
    if (operation.get("x-amazon-apigateway-auth") or {}).get("type") == "AWS_IAM":
        route["authorizationType"] = "AWS_IAM"
    apigateway._create_route(api_id, route)
