"""The process in which a function's code runs: imports the handler once, then answers one invocation after another. The
host starts it as a single file with the Lambda interpreter, so it uses only the standard library and runs on every
Python that Lambda supports. The loopback guard runs first. Differences from ministack's bootstrap, as in AWS's runtime
interface client:

- an exception in the handler is reported with its own type, message and stack trace, and the environment stays warm;
- import errors have AWS's types (``Runtime.ImportModuleError``, ``Runtime.HandlerNotFound``,
  ``Runtime.UserCodeSyntaxError``);
- answers that are no JSON (``Runtime.MarshalError``) or above 6 MB (``Function.ResponseSizeTooLarge``) are errors;
- the root logger has AWS's handler, in text or JSON;
- standard output of the function, of its libraries and of its child processes goes to the log.

Protocol, one JSON document a line. In: first ``{code_dir, module, handler, env, ...}``, then ``{event, ctx}`` per
invocation. Out, on the pipe that was standard output: ``{status: ready}`` or an error, then one answer per
invocation. The log is standard error; END_OF_LOG follows the last line of each invocation.
"""

import importlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

END_OF_LOG = "\x1e\x1eend of invocation"
MAXIMUM_RESPONSE_BYTES = 6291556
LAYER_DIRECTORIES = "_LAMBDA_LAYERS_DIRS"


class _Text(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )


class _Json(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": _Invocation.request_id,
        }
        if record.exc_info:
            document["stackTrace"] = traceback.format_exception(*record.exc_info)
        return json.dumps(document, default=str)


class _Invocation(logging.Filter):
    """Adds the request id to every record."""

    request_id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = _Invocation.request_id
        return True


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    json_format = os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"
    handler.setFormatter(_Json() if json_format else _Text())
    handler.addFilter(_Invocation())
    logging.getLogger().addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL")
    if json_format and level:
        logging.getLogger().setLevel({"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level, level))


class _Context:
    """AWS's context object."""

    identity = None
    client_context = None

    def __init__(self, start: dict[str, Any], call: dict[str, Any]) -> None:
        name = start.get("function_name", "")
        self.function_name = name
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        self.memory_limit_in_mb = str(start.get("memory", 128))
        self.invoked_function_arn = call.get("invoked_function_arn") or start.get("arn", "")
        self.aws_request_id = call.get("request_id", "")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + name)
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self._deadline = time.monotonic() + call.get("timeout_ms", 3000) / 1000

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        sys.stderr.write(str(message))


def _error(error_type: str, message: str, stack: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": _Invocation.request_id,
        "stackTrace": list(stack),
    }


def _of_exception(error: BaseException) -> dict[str, Any]:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return _error(type(error).__name__, str(error), traceback.format_list(frames))


def _add_paths(code_directory: str) -> None:
    """Sets AWS's order of paths: the function's code, then the layers' ``python`` folders, then the runtime's
    packages."""
    paths = [Path(code_directory)]
    for layer in filter(None, os.environ.pop(LAYER_DIRECTORIES, "").split(os.pathsep)):
        python = Path(layer) / "python"
        paths += [*sorted(python.glob("lib/python*/site-packages")), python]
    sys.path[:0] = [str(path) for path in paths if path.is_dir()]


def _import_handler(start: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
    """Returns (handler, None) or (None, the error that AWS reports)."""
    module_name, handler_name = start["module"].replace("/", "."), start["handler"]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        return None, _error("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}")
    except SyntaxError as error:
        return None, _error(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {error}",
            [f"  File {error.filename} Line {error.lineno}"],
        )
    except Exception as error:
        return None, _of_exception(error)
    handler = getattr(module, handler_name, None)
    if handler is None:
        return None, _error("Runtime.HandlerNotFound", f"Handler '{handler_name}' missing on module '{module_name}'")
    return handler, None


def _answer(handler: Any, start: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """Runs one invocation; returns {"status": "ok", "result"} or {"status": "ok", "failure"}. The process continues in
    both cases."""
    call = message.get("ctx") or {}
    _Invocation.request_id = call.get("request_id", "")
    if call.get("trace_id"):
        os.environ["_X_AMZN_TRACE_ID"] = call["trace_id"]
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        result = handler(message["event"], _Context(start, call))
    except Exception as error:
        failure = _of_exception(error)
        sys.stderr.write(
            f"[ERROR] {failure['errorType']}: {failure['errorMessage']}\nTraceback (most recent call last):\n"
            + "".join(failure["stackTrace"])
            + "\n"
        )
        return {"status": "ok", "failure": failure}
    try:
        text = json.dumps(result)
    except (TypeError, ValueError, OverflowError) as error:
        return {"status": "ok", "failure": _error("Runtime.MarshalError", f"Unable to marshal response: {error}")}
    if len(text) > MAXIMUM_RESPONSE_BYTES:
        return {
            "status": "ok",
            "failure": _error(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({MAXIMUM_RESPONSE_BYTES} bytes).",
            ),
        }
    return {"status": "ok", "result": result}


def _memory_in_mb() -> int:
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024) if sys.platform == "darwin" else peak // 1024


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def send(document: dict[str, Any]) -> None:
        sys.stderr.write("\n" + END_OF_LOG + "\n")
        sys.stderr.flush()
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    start = json.loads(sys.stdin.readline())
    for name, value in start.get("env", {}).items():
        if not name.startswith("AWS_ENDPOINT_URL"):
            os.environ[name] = value
    _add_paths(start["code_dir"])
    _set_up_logging()
    handler, error = _import_handler(start)
    if error:
        sys.stderr.write(f"[ERROR] {error['errorType']}: {error['errorMessage']}\n{''.join(error['stackTrace'])}")
        send({"status": "error", "error": json.dumps(error)})
        return
    send({"status": "ready", "cold": True})
    for line in sys.stdin:
        send({**_answer(handler, start, json.loads(line)), "memory": _memory_in_mb()})


if __name__ == "__main__":
    main()
