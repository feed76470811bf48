"""Prompts: Markdown files in every language, and one loader for them."""

from __future__ import annotations

from whyrank.prompts.loader import Language, Prompt, RenderedPrompt, load_prompt, quote

__all__ = ["Language", "Prompt", "RenderedPrompt", "load_prompt", "quote"]
