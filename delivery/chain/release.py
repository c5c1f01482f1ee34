"""One release of one environment: preflight, `sam build`, `sam deploy`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from delivery.chain.stack import Chain, ChainError

SAM = Path(".envs") / "sam" / "bin" / "sam"


def commands(root: Path, environment: str, region: str, chain: Chain | None) -> list[list[str]]:
    """The commands. With a chain, CloudFormation makes the resources by its role, and code is uploaded to its bucket;
    without one, by the caller's own rights and to SAM's bucket.
    """
    found = root / SAM
    sam = str(found) if found.exists() else "sam"
    deploy = [sam, "deploy", "--config-env", environment, "--region", region]
    # The approval is the pipeline's, before this command.
    deploy += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    if chain is not None:
        deploy += ["--role-arn", chain.execution_role, "--no-resolve-s3"]
        deploy += ["--s3-bucket", chain.bucket, "--s3-prefix", f"deployments/{environment}"]
    return [[sam, "build", "--config-env", environment], deploy]


def release(root: Path, environment: str, region: str, chain: Chain | None) -> None:
    """Build and deploy. Raises ChainError if a command fails; its output is above."""
    for command in commands(root, environment, region, chain):
        print(f"$ {' '.join(command)}", flush=True)
        try:
            status = subprocess.run(
                command, cwd=root, env=os.environ | {"SAM_CLI_TELEMETRY": "0"}, check=False
            ).returncode
        except FileNotFoundError as error:
            raise ChainError("sam is not installed: `make release` installs it into .envs/sam") from error
        if status:
            raise ChainError(f"`sam {command[1]}` ended with status {status}; its output is above")
