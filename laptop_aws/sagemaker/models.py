"""Models and endpoint configurations."""

from __future__ import annotations

from laptop_aws import images, registry
from laptop_aws.sagemaker import listing
from laptop_aws.sagemaker.model_registry import check_model_data, find_package
from laptop_aws.sagemaker.store import arn, store, tag
from laptop_aws.service_model import validation_error
from laptop_aws.store import Record, now, public

# ---- models ----------------------------------------------------------------------------------------------------------


def create_model(request: Record) -> Record:
    name, model_arn = request["ModelName"], arn("model", request["ModelName"])
    if name in store.tables().models:
        raise validation_error(f'Cannot create already existing model "{model_arn}".')
    containers = [request["PrimaryContainer"]] if "PrimaryContainer" in request else request.get("Containers", [])
    if len(containers) != 1 or ("PrimaryContainer" in request and request.get("Containers")):
        raise validation_error(
            "The embedded AWS serves models of exactly one container: give PrimaryContainer, or one entry in "
            "Containers."
        )
    resolved = _resolved(containers[0])
    with store.lock:
        if name in store.tables().models:
            raise validation_error(f'Cannot create already existing model "{model_arn}".')
        store.tables().models[name] = {key: value for key, value in request.items() if key != "Tags"} | {
            "ModelArn": model_arn,
            "CreationTime": now(),
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
            "_Container": resolved | {"RoleArn": request.get("ExecutionRoleArn", "")},
        }
    tag(model_arn, request.get("Tags"))
    return {"ModelArn": model_arn}


def _resolved(container: Record) -> Record:
    """Image, artefact and environment of a container, from its model package if it names one. Raises ServiceError."""
    environment = dict(container.get("Environment", {}))
    if container.get("ModelPackageName"):
        with store.lock:
            package = public(find_package(container["ModelPackageName"]))
        status = package.get("ModelApprovalStatus", "Approved")
        if status != "Approved":
            raise validation_error(
                f"Model Package {package['ModelPackageArn']} has approval status {status}; only an Approved one "
                "can be deployed."
            )
        container = package["InferenceSpecification"]["Containers"][0]
        environment = container.get("Environment", {}) | environment
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise validation_error(
            f"Container mode {container['Mode']!r} is not served by the embedded AWS: SingleModel is."
        )
    if container.get("ModelDataSource"):
        raise validation_error("ModelDataSource is not read by the embedded AWS: give the archive as ModelDataUrl.")
    image = container.get("Image", "")
    try:
        images.resolve(image, registry.config().root)
    except images.UnknownImage as error:
        raise validation_error(f"Requested image {image} not found. ({error})") from None
    check_model_data(container.get("ModelDataUrl"))
    return {"Image": image, "ModelDataUrl": container.get("ModelDataUrl"), "Environment": environment}


def describe_model(request: Record) -> Record:
    with store.lock:
        return public(find_model(request["ModelName"]))


def delete_model(request: Record) -> Record:
    with store.lock:
        model = find_model(request["ModelName"])
        del store.tables().models[model["ModelName"]]
        store.tables().tags.pop(model["ModelArn"], None)
    return {}


def list_models(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(store.tables().models.values(), request, name="ModelName", descending=True)
        return listing.answer(
            "Models", [listing.summary(row, "ModelName", "ModelArn", "CreationTime") for row in rows], token
        )


def find_model(name: str) -> Record:
    model = store.tables().models.get(name)
    if model is None:
        raise validation_error(f'Could not find model "{arn("model", name)}".')
    return model


# ---- endpoint configurations -----------------------------------------------------------------------------------------


def create_config(request: Record) -> Record:
    name, config_arn = request["EndpointConfigName"], arn("endpoint-config", request["EndpointConfigName"])
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) != len(names):
        raise validation_error(f"Production variant names must be unique: {', '.join(names)}")
    if request.get("AsyncInferenceConfig") or request.get("ShadowProductionVariants"):
        raise validation_error("Asynchronous inference and shadow variants are not served by the embedded AWS.")
    with store.lock:
        if name in store.tables().endpoint_configs:
            raise validation_error(f'Cannot create already existing endpoint configuration "{config_arn}".')
        for variant in variants:
            if not variant.get("ModelName") or variant.get("ServerlessConfig"):
                raise validation_error(
                    f"Production variant {variant['VariantName']!r} must name a ModelName and an InstanceType: "
                    "the embedded AWS serves neither inference components nor serverless variants."
                )
            if not variant.get("InstanceType") or not variant.get("InitialInstanceCount"):
                raise validation_error(
                    "Missing InstanceType or InitialInstanceCount of production variant "
                    f"{variant['VariantName']!r}. Both are required."
                )
            find_model(variant["ModelName"])
        store.tables().endpoint_configs[name] = {key: value for key, value in request.items() if key != "Tags"} | {
            "EndpointConfigArn": config_arn,
            "CreationTime": now(),
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
            "ProductionVariants": [{"InitialVariantWeight": 1.0, **variant} for variant in variants],
        }
    tag(config_arn, request.get("Tags"))
    return {"EndpointConfigArn": config_arn}


def describe_config(request: Record) -> Record:
    with store.lock:
        return public(find_config(request["EndpointConfigName"]))


def delete_config(request: Record) -> Record:
    with store.lock:
        config = find_config(request["EndpointConfigName"])
        del store.tables().endpoint_configs[config["EndpointConfigName"]]
        store.tables().tags.pop(config["EndpointConfigArn"], None)
    return {}


def list_configs(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(
            store.tables().endpoint_configs.values(), request, name="EndpointConfigName", descending=True
        )
        members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        return listing.answer("EndpointConfigs", [listing.summary(row, *members) for row in rows], token)


def find_config(name: str) -> Record:
    config = store.tables().endpoint_configs.get(name)
    if config is None:
        raise validation_error(f'Could not find endpoint configuration "{arn("endpoint-config", name)}".')
    return config
