"""MITRE ATT&CK in the tags of a rule (Sigma Rules Specification 2.1.0, appendix "Tags")."""

import re
from dataclasses import dataclass
from functools import lru_cache

_TECHNIQUE = re.compile(r"t[0-9]{4}(?:\.[0-9]{3})?")

_TACTICS = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resourcedevelopment": ("TA0042", "Resource Development"),
    "initialaccess": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilegeescalation": ("TA0004", "Privilege Escalation"),
    "defenseevasion": ("TA0005", "Defense Evasion"),
    "stealth": ("TA0005", "Stealth"),
    "defenseimpairment": ("TA0112", "Defense Impairment"),
    "credentialaccess": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateralmovement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "commandandcontrol": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}
# ATT&CK 19 (April 2026) split Defense Evasion: Stealth kept its id, Defense Impairment is new.
_TACTICS_SINCE_19 = frozenset({"Stealth", "Defense Impairment"})


@dataclass(frozen=True, slots=True)
class Tactic:
    """An adversary's goal, e.g. `TA0003` Persistence."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Attack:
    """What the tags of a rule say in terms of ATT&CK."""

    tactics: tuple[Tactic, ...]
    techniques: tuple[str, ...]
    """Ids in capitals as tagged: `T1078`, `T1078.004`."""

    @property
    def version(self) -> str:
        """`19` where a tactic exists only since then; else empty, as tags do not tell."""
        return "19" if any(tactic.name in _TACTICS_SINCE_19 for tactic in self.tactics) else ""


@lru_cache(maxsize=1024)  # the tags of a rule, for each of its findings
def attack_of(tags: tuple[str, ...]) -> Attack:
    """Read tactics and techniques from tags, each once, in the order written.

    Tactics may be written with hyphens, underscores or neither. Tags of other namespaces,
    groups (`attack.g0049`) and software (`attack.s0002`) are left out.
    """
    tactics: dict[Tactic, None] = {}
    techniques: dict[str, None] = {}
    for tag in tags:
        namespace, _, name = tag.strip().lower().partition(".")
        if namespace != "attack":
            continue
        if _TECHNIQUE.fullmatch(name):
            techniques[name.upper()] = None
        elif known := _TACTICS.get(name.replace("-", "").replace("_", "")):
            tactics[Tactic(*known)] = None
    return Attack(tuple(tactics), tuple(techniques))
