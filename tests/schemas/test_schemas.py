import pyarrow as pa
import pytest

from image2music.music.metrics import Metrics
from schemas.album import ALBUM_SCHEMA
from schemas.composition import METADATA_FIELDS, composition_schema
from schemas.failure import FAILURE_SCHEMA
from schemas.fields import METRICS
from schemas.tune import tune_schema

TUNE = (
    "tune_id location caption abc key meter tempo_qpm duration_s bars voices genre mood metrics vector embedder_id "
    "row_hash instruments music_id image image_id licence source"
)
COMPOSITION = (
    "image_id image_uri image_uris album catalog_id width height description scene image_embedding "
    "description_embedding references plan abc title key meter tempo_qpm midi motivation metrics critic rounds "
    "attention composer_id embedder_id index_uri index_version settings_hash seed seconds composed_at rights"
)
FAILURE = "stage id uri reason message failed_at"
SCHEMAS = {
    "tune": tune_schema(4),
    "composition": composition_schema(4, list(METADATA_FIELDS.values())),
    "failure": FAILURE_SCHEMA,
    "album": ALBUM_SCHEMA,
}


@pytest.mark.parametrize(
    ("schema", "columns"), [(SCHEMAS["tune"], TUNE), (composition_schema(4), COMPOSITION), (FAILURE_SCHEMA, FAILURE)]
)
def test_columns_are_those_of_the_contract(schema, columns):
    assert schema.names == columns.split()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_says_what_it_means(name):
    assert all(field.metadata[b"meaning"] for field in SCHEMAS[name])


def test_times_and_lengths_say_their_unit():
    schema = composition_schema(4)
    units = {name: schema.field(name).metadata[b"unit"].decode() for name in ("width", "tempo_qpm", "seconds")}
    assert units == {"width": "pixels", "tempo_qpm": "quarter notes a minute", "seconds": "seconds"}


def test_the_metrics_are_the_eight_of_the_domain_code():
    assert [field.name for field in METRICS] == list(Metrics.__dataclass_fields__)


def test_vectors_have_the_length_asked_for():
    assert tune_schema(7).field("vector").type == pa.list_(pa.float32(), 7)
    assert composition_schema(7).field("image_embedding").type.list_size == 7
