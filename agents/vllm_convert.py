"""From a GGUF file to a folder of safetensors: a script run by vLLM's Python, it imports nothing of WhyRank.

vLLM reads GGUF files of few architectures and on a GPU only; plain weights it reads everywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """Write the model of the GGUF file (first argument) into the folder (second argument)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, target = (Path(argument) for argument in sys.argv[1:3])
    model = AutoModelForCausalLM.from_pretrained(
        str(source.parent),
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(str(target))
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(str(target))
    return 0


if __name__ == "__main__":
    sys.exit(main())
