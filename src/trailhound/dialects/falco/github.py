"""Fields of GitHub webhooks: `github.*` (falcosecurity/plugins, github 0.8).

The plugin listens for webhooks; its events are their bodies, with what it looked up itself
(`webhook_type`, `files`, `workflow_miner_detections`). A field that is not there is the empty
text, and exists.
"""

from trailhound.dialects.falco.fields import (
    FalcoField,
    below,
    constant,
    first,
    or_empty,
    plain,
    where,
)
from trailhound.rules.ir import Compare, Equals, Exists, Field, Not, Reading, Step

_PRIVATE = Compare(plain("repository", "private"), Equals("true", cased=True))
_FILES = Exists(plain("files"))
_MATCHES = Exists(plain("files", "matches", "line"))
_MINERS = Exists(plain("workflow_miner_detections", "matches"))
_MINED = Exists(plain("workflow_miner_detections", "matches", "type"))
_COMMAS = Step("join", (",",))
_URL = ("repository", "html_url")


def _text(name: str, description: str, *path: str, via: tuple[Step, ...] = ()) -> FalcoField:
    return FalcoField(name, description, or_empty(*path, via=via), nulls=False)


def _files(name: str, description: str, *path: str) -> FalcoField:
    return FalcoField(name, description, below(*path, via=(_COMMAS,)), nulls=False)


def _secrets(name: str, description: str, what: str) -> FalcoField:
    field = Field(name, ((),), (Step("committed-secrets", (what,)), _COMMAS))
    return FalcoField(name, description, lambda _: (Reading(field),), nulls=False)


FIELDS: tuple[FalcoField, ...] = (
    _text("github.type", "Type of the webhook: `repository`.", "webhook_type"),
    _text("github.action", "What happened: `created`.", "action"),
    _text("github.user", "Who did it.", "sender", "login"),
    _text("github.repo", "Deprecated in Falco: URL of the repository.", *_URL),
    _text("github.repo.url", "URL of the repository.", *_URL),
    _text(
        "github.repo.name",
        "Owner and name of the repository.",
        *_URL,
        via=(Step("trim-start", ("https://github.com/",)),),
    ),
    _text("github.repo.description", "What the repository is.", "repository", "description"),
    _text("github.org", "Organisation.", "organization", "login"),
    _text("github.owner", "Owner of the repository.", "repository", "owner", "login"),
    FalcoField(
        "github.repo.public",
        "`false` for a private repository, else `true`.",
        first(constant("false", _PRIVATE), constant("true", Not(_PRIVATE))),
        nulls=False,
    ),
    _text("github.collaborator.name", "Member added or removed.", "member", "login"),
    _text("github.collaborator.role", "Role given.", "changes", "permission", "to"),
    FalcoField(
        "github.webhook.id",
        "Id of a new webhook; 0 where there is none.",
        first(below("hook", "id"), constant("0", Not(Exists(plain("hook", "id"))))),
        nulls=False,
    ),
    _text("github.webhook.type", "Type of a new webhook.", "hook", "type"),
    _text("github.commit.added", "Files added, by commas.", "commits", "added", via=(_COMMAS,)),
    _text(
        "github.commit.modified",
        "Files changed, by commas.",
        "commits",
        "modified",
        via=(_COMMAS,),
    ),
    _text(
        "github.commit.removed", "Files removed, by commas.", "commits", "removed", via=(_COMMAS,)
    ),
    FalcoField(
        "github.diff.has_secrets",
        "`true` where a push has secrets in it, as the plugin found.",
        first(
            constant("true", _MATCHES),
            where(_FILES, constant("false", Not(_MATCHES))),
            constant("", Not(_FILES)),
        ),
        nulls=False,
    ),
    _files(
        "github.diff.committed_secrets.desc",
        "Kinds of secrets, by commas.",
        "files",
        "matches",
        "desc",
    ),
    _secrets("github.diff.committed_secrets.files", "Files with secrets, by commas.", "files"),
    _files("github.diff.committed_secrets.lines", "Lines of secrets.", "files", "matches", "line"),
    _secrets("github.diff.committed_secrets.links", "Links to secrets, by commas.", "links"),
    FalcoField(
        "github.workflow.has_miners",
        "`true` where a workflow mines, as the plugin found.",
        first(constant("true", _MINED), where(_MINERS, constant("false", Not(_MINED)))),
        nulls=False,
    ),
    FalcoField(
        "github.workflow.miners.type",
        "Kinds of miners, by commas.",
        below(
            "workflow_miner_detections", "matches", "type", via=(Step("join", (",", "distinct")),)
        ),
        nulls=False,
    ),
    _text("github.workflow.filename", "File of the workflow.", "workflow", "path"),
)
