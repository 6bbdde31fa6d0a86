"""Target `schema`: TOML files of a schema, and the JSON of one in `metadata.json`."""

import json
import random
from pathlib import Path

from pipeline.errors import InputError, shown
from pipeline.schema import BUILT_IN, Schema, builtin, parse, write
from tests.fuzz import mutations
from tests.fuzz.tables import NAMED, SINGLE
from tests.fuzz.target import Case, expect

_TOKENS = [
    b"[", b"]", b"[[", b"[[channels]]\n", b'"', b"'''", b"=", b"\n", b"{", b"}", b"{id}", b"{0}", b"{id!r}", b"{id:>9999999}", b"{id[0]}",
    b"{id.x}", b"true", b"nan", b"inf", b"-1", b"1e999", b"9" * 5000, b"1979-05-27", b"\0", b"\xff", b"#", b".", b"..", b"/", b"\\",
    b"name", b"plane", b"range = [0, 65536]\n", b"depth = 'percentile'\n", b"groups", b"id_pattern = '{a}_{b}'\n", b"[" * 2000, b"\\u0000",
]  # fmt: skip


class SchemaFile:
    """The built-in schemas and two small ones."""

    def __init__(self, folder: Path):
        texts = [(parse.FOLDER / f"{name}.toml").read_text() for name in BUILT_IN]
        self.seeds = [text.encode() for text in (*texts, NAMED, SINGLE, NAMED, SINGLE)]
        self.values = [builtin(name).to_dict() for name in BUILT_IN] + [parse.parse(NAMED, "").to_dict()] * 2

    def draw(self, rng: random.Random) -> Case:
        match rng.randrange(10):
            case 0:
                return Case(rng.choice(self.seeds), True)
            case 1 | 2 | 3:
                value = mutations.damage_json(rng, rng.choice(self.values))
                return Case(json.dumps(value).encode(errors="surrogatepass"))
            case 4:
                return Case(mutations.splice(rng, rng.choice(self.seeds), rng.choice(self.seeds)))
            case _:
                return Case(mutations.damage(rng, rng.choice(self.seeds), _TOKENS))

    def check(self, case: Case) -> str:
        try:
            schema = self._read(case.data)
        except InputError as error:
            expect(case.intact is None, "an intact schema was refused:", error)
            expect(len(shown(str(error))) < 40_000, "a message of", len(str(error)))
            return "refused"
        if schema is None:
            return "refused as JSON"
        expect(Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema, "another schema by way of JSON")
        expect(parse.parse(write.to_toml(schema), "again") == schema, "another schema by way of TOML")
        assert schema.columns
        assert schema.default_sources
        assert schema.digest()
        if not schema.needs_table:
            for name in schema.files("an-id"):
                expect("an-id" in name and not name.startswith("/") and ".." not in name.split("/"), "file", name)
        return "accepted"

    def _read(self, data: bytes) -> Schema | None:
        try:
            text = data.decode()
            values = json.loads(text) if text.startswith('{"') else None
        except ValueError:  # those who read the file say so
            return None
        return parse.parse(text, "schema.toml") if values is None else Schema.from_dict(values)
