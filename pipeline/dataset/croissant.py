"""The dataset described in Croissant, the JSON-LD vocabulary of MLCommons that dataset search engines read.

Specification: http://mlcommons.org/croissant/1.0. The document is built from plain values, because importing
`mlcroissant` takes longer than building a small dataset; a test validates it with that library.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.dataset import labels, texts
from pipeline.schema import NAME, VERSION, Schema
from pipeline.store import layout

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "key": "cr:key",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "repeated": "cr:repeated",
    "sc": "https://schema.org/",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_FORMATS = {".csv": "text/csv", ".json": "application/json", ".txt": "text/plain"}


def document(schema: Schema, size: int, digests: Mapping[str, str], *, synthetic: bool) -> str:
    """Returns the text of `croissant.json`.

    Args:
      schema: of the dataset.
      size: pixels a side.
      digests: `{file name: SHA-256}` of every other file of the dataset.
      synthetic: whether its images are drawn.
    """
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{NAME}/{layout.config_name(schema, size)}".replace("/", "-"),
        "description": f"{texts.description(schema, synthetic=synthetic)}\n\n{_features(schema, size)}",
        "version": VERSION,
        "url": schema.homepage,
        "license": schema.licence,
        "citeAs": texts.citation(schema),
        "distribution": [_file(name, digest) for name, digest in sorted(digests.items())],
        "recordSet": [_classes(schema), _channels(schema), *_tables(digests, schema)],
    }
    given = {key: value for key, value in document.items() if value}
    return json.dumps(given, indent=1, ensure_ascii=False) + "\n"


def _features(schema: Schema, size: int) -> str:
    """Returns the features of an example in words: Croissant cannot read records of `tf.train.Example`."""
    label = "label (one class id)" if schema.single_label else "labels (class ids)"
    return (
        f"Each record of the shards is a tf.train.Example: id (text), image ({schema.dtype} "
        f"[{size}, {size}, {schema.num_channels}], row by row), {label}, label_vector (uint8 [{schema.num_classes}])."
    )


def _file(name: str, digest: str) -> dict[str, Any]:
    ending = name[name.rfind(".") :]
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": _FORMATS.get(ending, "application/octet-stream"),
        "sha256": digest,
    }


def _classes(schema: Schema) -> dict[str, Any]:
    return _inline("classes", [{"id": k, "name": name} for k, name in enumerate(schema.classes)])


def _channels(schema: Schema) -> dict[str, Any]:
    rows = [
        {"index": k, "name": channel.name, "shows": channel.shows or channel.name}
        for k, channel in enumerate(schema.channels)
    ]
    return _inline("channels", rows)


def _inline(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a record set whose rows are part of the document."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/{next(iter(rows[0]))}"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "dataType": "sc:Integer" if isinstance(value, int) else "sc:Text",
            }
            for column, value in rows[0].items()
        ],
        "data": [{f"{name}/{column}": value for column, value in row.items()} for row in rows],
    }


def _tables(digests: Mapping[str, str], schema: Schema) -> list[dict[str, Any]]:
    """Returns a record set for each published table of examples."""
    columns = {
        layout.LABELS: tuple(labels.HEADER.strip().split(",")),
        layout.COLUMNS: ("Id", *schema.published_columns),
    }
    return [
        {
            "@type": "cr:RecordSet",
            "@id": name.partition(".")[0],
            "name": name.partition(".")[0],
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"{name.partition('.')[0]}/{column}",
                    "name": column,
                    "dataType": "sc:Text",
                    "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
                }
                for column in names
            ],
        }
        for name, names in columns.items()
        if name in digests
    ]
