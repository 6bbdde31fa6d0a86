"""The earlier split that a build keeps, so that no example of a published dataset moves when the table grows."""

import dataclasses
from collections.abc import Mapping

from pipeline.config import BuildConfig
from pipeline.dataset import publish
from pipeline.plan import kept
from pipeline.plan.manifest import Manifest
from pipeline.store import layout
from pipeline.store.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Earlier:
    """`of` maps id to split; empty where nothing is kept. `published_sha256` is what the dataset at the target kept."""

    of: Mapping[str, str]
    published_sha256: str | None = None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the split (`kept.digest`), a parameter of the build; `None` where nothing is kept."""
        return kept.digest(self.of) if self.of else None


def find(config: BuildConfig, source: Manifest, workspace: Workspace) -> Earlier:
    """Returns the split that a build keeps.

    That is the one named by `config.keep`; or else, when a published dataset is replaced, its own if the table has
    most of its ids but not the very same ones: it has grown, or lost some. A split that was kept once stays kept.
    A copy in the build's folder survives a kill, since an object store removes a dataset before it writes the next.

    Raises:
      InputError: the table of an earlier split cannot be read.
    """
    copy = workspace.directory / layout.KEPT
    metadata = publish.published_metadata(workspace.target) or {}
    published = metadata.get("kept_sha256")
    if config.keep is not None or config.resplit:
        return Earlier(kept.read(config.keep) if config.keep is not None else {})
    if copy.exists():
        of, was_kept = kept.read(copy), True
    elif config.overwrite and (workspace.target / layout.SPLIT).exists() and not metadata.get("max_examples_per_split"):
        of, was_kept = kept.read(workspace.target / layout.SPLIT), published is not None
    else:
        return Earlier({}, published)
    ids = {example.id for example in source.examples}
    same_source = 2 * len(of.keys() & ids) > len(of)
    return Earlier(of if same_source and (was_kept or of.keys() != ids) else {}, published)


def save(earlier: Earlier, config: BuildConfig, workspace: Workspace) -> None:
    """Writes a copy of the split into the build's folder, or removes one that is not kept."""
    if earlier.of and config.keep is None:
        kept.write(workspace.directory / layout.KEPT, earlier.of)
    else:
        (workspace.directory / layout.KEPT).unlink(missing_ok=True)
