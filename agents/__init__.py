"""The model's side: one client, an embedded server, and what proposes edges."""

from __future__ import annotations

from whyrank.agents.backend import Backend, CallFailed, OpenAIBackend, Reply
from whyrank.agents.calls import CallRecord, CallStore, MemoryStore
from whyrank.agents.client import Answered, Client, Progress, Question, Usage
from whyrank.agents.connect import open_backend, open_client
from whyrank.agents.endpoint import Endpoint, check_address
from whyrank.agents.probe import ProbeResult, probe
from whyrank.agents.propose import Proposal, propose_llm
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.agents.serving import embedded_server, serve_forever
from whyrank.agents.sources import propose_exhaustive, read_hypotheses, write_hypotheses
from whyrank.agents.speed import Speed, measure_speed
from whyrank.agents.vllm_engine import serve_vllm_forever, vllm_server

__all__ = [
    "Answered",
    "Backend",
    "CallFailed",
    "CallRecord",
    "CallStore",
    "Client",
    "Endpoint",
    "MemoryStore",
    "OpenAIBackend",
    "ProbeResult",
    "Progress",
    "Proposal",
    "Question",
    "Reply",
    "ScriptedModel",
    "Sent",
    "Speed",
    "Usage",
    "check_address",
    "embedded_server",
    "measure_speed",
    "open_backend",
    "open_client",
    "probe",
    "propose_exhaustive",
    "propose_llm",
    "read_hypotheses",
    "serve_forever",
    "serve_vllm_forever",
    "vllm_server",
    "write_hypotheses",
]
