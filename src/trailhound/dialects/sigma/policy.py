"""How pySigma is used here: which patterns it accepts, and a modifier it lacks."""

import re
from typing import Any

import re2
import regex
from sigma.modifiers import SigmaWideModifier, modifier_mapping
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine

# Sigma Modifiers Appendix 2.1.0: `utf16le` is the name, `wide` its alias. pySigma 2.0 knows
# only the alias.
modifier_mapping.setdefault("utf16le", SigmaWideModifier)


class _EitherEngine(RegexEngine):
    """Takes what RE2 compiles, and what needs backtracking too: the engine bounds its time."""

    def compile(self, pattern: str, flags: int = 0) -> Any:
        letters = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}
        prefix = "".join(letter for flag, letter in letters.items() if flags & flag)
        source = f"(?{prefix}){pattern}" if prefix else pattern
        options = re2.Options()
        options.log_errors = False
        try:
            return re2.compile(source, options)
        except re2.error:
            return regex.compile(source)

    @property
    def error(self) -> type[Exception]:
        error: type[Exception] = regex.error
        return error


POLICY = SigmaPolicy(regex_engine=_EitherEngine())
"""Nothing external is read and no template is run; that is pySigma's default."""
