"""The machines ("hosts") of a training job, and torchrun over them.

SageMaker starts the command `train` on every host, and tells each in `resourceconfig.json` which hosts there are. Every
host has the whole dataset. torchrun (`torch.distributed.run`) runs in the process of `train`, and starts a process for
each GPU of the host, or one. All processes train one model (`ncf/fitting/distributed.py`). The first process of the
first host writes the model and the checkpoints; SageMaker brings the checkpoints to every host when the job resumes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.values import shown

PORT = "29500"
"""The port of the first host at which all meet, unless the variable MASTER_PORT names another."""
MEETING_SECONDS = 600
"""Time that the first host waits for the others, in seconds."""
STOP_SECONDS = 110
"""Time between SIGTERM and SIGKILL for the processes that train, in seconds; SageMaker allows 120."""
STOPPED = 128 + signal.SIGTERM


class HostsFailed(Exception):
    """The hosts could not train together; the message says which one, and why."""


@dataclass(frozen=True)
class Hosts:
    """All hosts of the job in the order of their ranks, and which of them is this one."""

    names: tuple[str, ...] = ("localhost",)
    current: str = "localhost"
    interface: str | None = None
    """The network interface that reaches the other hosts. None: gloo and NCCL choose one."""

    @classmethod
    def from_config(cls, document: Mapping[str, Any]) -> Hosts:
        """Read `resourceconfig.json`; an empty document is a single host. Raises ValueError naming the wrong field."""
        if not document:
            return cls()
        names, current = document.get("hosts"), document.get("current_host")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"resourceconfig.json: hosts must be a list of names, not {shown(names)}")
        if len(set(names)) < len(names):
            raise ValueError(f"resourceconfig.json: hosts has a name twice: {', '.join(names)}")
        if not isinstance(current, str) or current not in names:
            raise ValueError(
                f"resourceconfig.json: current_host must be one of hosts ({', '.join(names)}), not {shown(current)}"
            )
        interface = document.get("network_interface_name")
        if interface is not None and not (isinstance(interface, str) and interface):
            raise ValueError(f"resourceconfig.json: network_interface_name must be a name, not {shown(interface)}")
        # Sorted, so that every host numbers them alike.
        return cls(tuple(sorted(names)), current, interface)

    @property
    def are_several(self) -> bool:
        return len(self.names) > 1

    @property
    def rank(self) -> int:
        return self.names.index(self.current)

    def variables(self) -> dict[str, str]:
        """Return the environment variables that make gloo and NCCL use the network interface."""
        if self.interface is None:
            return {}
        return {"GLOO_SOCKET_IFNAME": self.interface, "NCCL_SOCKET_IFNAME": self.interface}


def train_together(hosts: Hosts, processes: int, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `container.job` with `argv` in `processes` processes of this host, and with those of the other hosts.

    The processes have the variables in `environment` and end with this one. Returns the exit status: 0, or 143 after
    SIGTERM. Raises HostsFailed if the hosts do not meet, or if a process of this host fails.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # PYTHONSAFEPATH is what -P is to a command, which torchrun does not pass on.
    os.environ.update({"PYTHONSAFEPATH": "1", **environment, **hosts.variables()})
    options = {
        "nnodes": len(hosts.names),
        "node-rank": hosts.rank,
        "nproc-per-node": processes,
        "master-addr": hosts.names[0],
        "master-port": os.environ.get("MASTER_PORT", PORT),
        "max-restarts": 0,
        "shutdown-timeout": STOP_SECONDS,
        "rdzv-conf": f"timeout={MEETING_SECONDS}",
    }
    torchrun = [f"--{name}={value}" for name, value in options.items()]
    try:
        # Without `--`, torchrun reads --start as an abbreviation of its own option.
        run(parse_args([*torchrun, "-m", "--", "container.job", *argv]))
    except SignalException as stop:
        return 128 + stop.sigval
    except ChildFailedError as failed:
        _, failure = failed.get_first_failure()
        if failure.exitcode == STOPPED:  # another host was stopped
            return STOPPED
        how = f"with status {failure.exitcode}" if failure.exitcode >= 0 else f"by {failure.signal_name()}"
        raise HostsFailed(f"the process that trains on host {hosts.current} ended {how}; its log says why") from failed
    except RuntimeError as error:
        others = ", ".join(name for name in hosts.names if name != hosts.current)
        raise HostsFailed(
            f"host {hosts.current} did not meet the others ({others}) at {hosts.names[0]}:{options['master-port']} "
            f"within {MEETING_SECONDS} s: {error}"
        ) from error
    return 0
