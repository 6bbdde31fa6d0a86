"""The earlier split that a build keeps, so that no example of a published dataset moves when the table grows."""

import dataclasses
from collections.abc import Mapping

from pipeline.config import BuildConfig
from pipeline.dataset import publish
from pipeline.errors import InputError
from pipeline.plan import kept
from pipeline.plan.manifest import Manifest
from pipeline.store import files, layout
from pipeline.store.files import Place
from pipeline.store.workspace import Workspace

_ADVICE = "name an intact copy with --keep, or split anew with --resplit"


@dataclasses.dataclass(frozen=True)
class Earlier:
    """`of` maps id to split; empty where nothing is kept.

    `published_sha256` is the digest of the split that the dataset at the target kept; `replaced` is the split of that
    dataset, if this build does not keep it.
    """

    of: Mapping[str, str]
    published_sha256: str | None = None
    replaced: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the split (`kept.digest`), a parameter of the build; `None` where nothing is kept."""
        return kept.digest(self.of) if self.of else None


def find(config: BuildConfig, source: Manifest, workspace: Workspace) -> Earlier:
    """Returns the split that a build keeps.

    That is the split named by `config.keep`. Otherwise, when a published dataset is replaced, it is the split of that
    dataset, if the table has most of its ids but not exactly the same ones. A split that was kept once stays kept.
    The build's folder has a copy, in case of a kill: in an object store, a dataset is removed before the next is
    written.

    Raises:
      InputError: the table of an earlier split cannot be read.
    """
    metadata = publish.published_metadata(workspace.target) or {}
    published = metadata.get("kept_sha256")
    if config.keep is not None or config.resplit:
        return Earlier(kept.read(config.keep) if config.keep is not None else {})
    is_there = config.overwrite and (workspace.target / layout.SPLIT).exists()
    if (copied := _read_copy(workspace, is_needed=not is_there)) is not None:
        of, was_kept = copied, True
    elif is_there and not metadata.get("max_examples_per_split"):
        of, was_kept = _read_published(workspace.target), published is not None
    else:
        return Earlier({}, published)
    ids = {example.id for example in source.examples}
    same_source = 2 * len(of.keys() & ids) > len(of)
    if same_source and (was_kept or of.keys() != ids):
        return Earlier(of, published)
    return Earlier({}, published, replaced=of)


def moved(earlier: Earlier, split_of: Mapping[str, str]) -> list[str]:
    """Returns a line that counts the examples of the replaced dataset that are in another split now, or no line."""
    both = earlier.replaced.keys() & split_of.keys()
    if num := sum(earlier.replaced[key] != split_of[key] for key in both):
        return [
            f"{num:,} of {len(both):,} published examples are in another split than before, because the seed, the sizes "
            "or the groups of the split changed: models trained on the earlier dataset may have seen them"
        ]
    return []


def _read_published(target: Place) -> dict[str, str]:
    """Returns the split of a published dataset; refuses an altered one, which would move examples silently."""
    path = target / layout.SPLIT
    if f"{files.sha256_of(path)}  {path.name}\n" not in _read_text(target / layout.CHECKSUMS):
        raise InputError(f"{path}: changed since it was published, so the split cannot be kept; {_ADVICE}")
    return kept.read(path)


def _read_copy(workspace: Workspace, *, is_needed: bool) -> dict[str, str] | None:
    """Returns the split that a killed build kept; `None` if there is none, or if it is damaged and not needed."""
    path = workspace.directory / layout.KEPT
    if not path.exists():
        return None
    try:
        of = kept.read(path)
        if kept.digest(of) == _read_text(_digest_of(path)):
            return of
    except InputError:
        pass
    if is_needed:
        raise InputError(f"{path}: damaged, so the split of the dataset that was there cannot be kept; {_ADVICE}")
    return None


def _digest_of(path: Place) -> Place:
    return path.with_name(f"{path.name}.sha256")


def _read_text(path: Place) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def save(earlier: Earlier, config: BuildConfig, workspace: Workspace) -> None:
    """Copies the split of a published dataset into the build's folder if it is kept; otherwise removes the copy."""
    copy = workspace.directory / layout.KEPT
    if earlier.of and config.keep is None:
        with files.replacing(_digest_of(copy)) as file:
            file.write(kept.digest(earlier.of).encode())
        kept.write(copy, earlier.of)
    else:
        for path in (copy, _digest_of(copy)):
            path.unlink(missing_ok=True)
