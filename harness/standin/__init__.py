"""A stand-in for a model service, so that every scenario runs on a laptop without a key.

It speaks OpenAI's chat completions on loopback, answers in no time or in exactly the time that is asked for, and says
in every output that it is a stand-in.
"""

from harness.standin.declarations import with_stand_in
from harness.standin.standin_server import StandIn

__all__ = ["StandIn", "with_stand_in"]
