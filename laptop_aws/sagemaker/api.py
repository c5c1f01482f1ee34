"""Routes requests: JSON 1.1 operations by target, invocations by path."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from laptop_aws import json_service, registry
from laptop_aws.sagemaker import endpoints, model_registry, models, runtime, training_jobs, transform_jobs
from laptop_aws.service_model import ServiceError

OPERATIONS: json_service.Operations = {
    "CreateTrainingJob": training_jobs.create,
    "DescribeTrainingJob": training_jobs.describe,
    "StopTrainingJob": training_jobs.stop,
    "ListTrainingJobs": training_jobs.list_jobs,
    "CreateTransformJob": transform_jobs.create,
    "DescribeTransformJob": transform_jobs.describe,
    "StopTransformJob": transform_jobs.stop,
    "ListTransformJobs": transform_jobs.list_jobs,
    "CreateModelPackageGroup": model_registry.create_group,
    "DescribeModelPackageGroup": model_registry.describe_group,
    "DeleteModelPackageGroup": model_registry.delete_group,
    "ListModelPackageGroups": model_registry.list_groups,
    "CreateModelPackage": model_registry.create_package,
    "DescribeModelPackage": model_registry.describe_package,
    "UpdateModelPackage": model_registry.update_package,
    "ListModelPackages": model_registry.list_packages,
    "DeleteModelPackage": model_registry.delete_package,
    "AddTags": model_registry.add_tags,
    "ListTags": model_registry.list_tags,
    "DeleteTags": model_registry.delete_tags,
    "CreateModel": models.create_model,
    "DescribeModel": models.describe_model,
    "DeleteModel": models.delete_model,
    "ListModels": models.list_models,
    "CreateEndpointConfig": models.create_config,
    "DescribeEndpointConfig": models.describe_config,
    "DeleteEndpointConfig": models.delete_config,
    "ListEndpointConfigs": models.list_configs,
    "CreateEndpoint": endpoints.create,
    "UpdateEndpoint": endpoints.update,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights,
    "DescribeEndpoint": endpoints.describe,
    "DeleteEndpoint": endpoints.delete,
    "ListEndpoints": endpoints.list_endpoints,
}

# A separate pool: a slow container must not block the threads of the other services.
_invokers = ThreadPoolExecutor(max_workers=64, thread_name_prefix="invoke")


async def handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> registry.Response:
    endpoint = runtime.endpoint_of(unquote(path))
    if endpoint is not None and method == "POST":
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            _invokers, context.run, _invoke, endpoint, headers, body
        )
    return await registry.offload(json_service.answer, "sagemaker", OPERATIONS, headers.get("x-amz-target", ""), body)


def _invoke(endpoint: str, headers: dict[str, str], body: bytes) -> registry.Response:
    try:
        return runtime.invoke(endpoint, headers, body)
    except ServiceError as error:
        return runtime.error_response(error)
