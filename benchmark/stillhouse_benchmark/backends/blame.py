"""Which failure class, and which torch layers, a runtime's error message speaks of.

Depends on: the standard library.
"""

from __future__ import annotations

import re
from pathlib import Path

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.onnxfile import Node, read_onnx

MEMORY = ("bad_alloc", "out of memory", "Cannot allocate memory", "CL_OUT_OF_RESOURCES")
FAULTS = (
    "NC_ERROR",
    "X_LINK",
    "Can not init Myriad device",
    "no available devices",
    "No available devices",
    "CL_DEVICE_NOT_AVAILABLE",
    "ZE_RESULT_ERROR_DEVICE_LOST",
)
MAX_REASON = 600
SOURCE_LINE = re.compile(r"^(\[ *\w+ *\]\s*)?\S+\.(cpp|hpp|h):\d+:?\s*|^\[ \w+ \]$")
NOISE = re.compile(r"(Exception from |Check '|While validating|at )")


def unsupported_reason(path: Path, stage: str, message: str) -> JobFailed:
    """The failure a runtime's message stands for.

    Args:
        path: The ONNX file; a damaged one makes it ``bad-artifact`` instead.
        stage: ``read``, ``compile`` or ``infer``.
        message: The runtime's.

    Returns:
        What to raise: ``bad-artifact``, ``out-of-memory``, ``device-fault`` or ``unsupported``.
    """
    reason = short_reason(message)
    if any(mark in message for mark in MEMORY):
        return JobFailed("out-of-memory", stage, reason)
    if any(mark in message for mark in FAULTS):
        return JobFailed("device-fault", stage, reason)
    try:
        nodes = read_onnx(path).nodes
    except JobFailed as damaged:
        return JobFailed(damaged.failure_class, stage, f"{damaged.reason} ({reason})")
    layers = blamed_layers(message, nodes)
    return JobFailed("unsupported", stage, reason, layers)


def blamed_layers(message: str, nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """Layers a message names, else those whose operation it names.

    Runtimes name a node by its name or by its output; both are the torch layer's in our exports.
    """
    words = set(re.findall(r"[\w.:/-]+", message.replace('"', " ").replace("'", " ")))
    words |= {word.strip(".:") for word in words}
    named = [node for node in nodes if words & {node.name, *node.outputs} - {""}]
    if not named:
        # "Det-13" is Det of opset 13, "ai.onnx.Det" its full name.
        operations = {re.sub(r"-\d+$", "", word).rpartition(".")[2] for word in words}
        named = [node for node in nodes if node.op_type in operations]
        common = {"Conv", "Add", "Relu", "Constant"}  # words that stand in messages anyway
        named = [node for node in named if node.op_type not in common]
    return tuple(dict.fromkeys(node.name or node.outputs[0] for node in named if node.outputs))


def short_reason(message: str) -> str:
    """A runtime's message without its source lines and stack, at most 600 characters."""
    lines = [SOURCE_LINE.sub("", line.strip()) for line in message.splitlines()]
    kept = [line for line in lines if line and not NOISE.match(line)]
    text = " ".join(kept) or message.strip() or "no reason given"
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 3] + "..."
