"""What groups of commands share.

Rules of this module:
- It imports nothing but typer, so that `--help` and completion answer at once.
"""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

from harness.exit_codes import exit_code_lines

# The mark keeps the lines as they are.
EPILOG: Final = "\n".join(("\b", "Exit status:", *exit_code_lines()))


class LightGroup(TyperGroup):
    """Its flags (help and completion) are absent as False: to read an absent None, typer would import pydantic."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, flags with a value."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if parameter.default is None and getattr(parameter, "is_flag", False):
                parameter.default = False
        return parameters
