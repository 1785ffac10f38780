import lowres_d2

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="wording of the bundled core"
)


@pytest.fixture
def name():
    yield "test_catalog_set"
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.data.pop("test_catalog_set", None)


def test_a_data_set_is_loaded_by_its_name_at_every_call(name):
    DatasetCatalog.register(name, lambda: [{"image_id": 1}])
    assert DatasetCatalog.get(name) == [{"image_id": 1}]
    assert DatasetCatalog.get(name) is not DatasetCatalog.get(name)
    assert name in DatasetCatalog.list()
    DatasetCatalog.remove(name)
    assert name not in DatasetCatalog


def test_a_name_is_registered_once(name):
    DatasetCatalog.register(name, list)
    with pytest.raises(AssertionError, match=name):
        DatasetCatalog.register(name, list)
    with pytest.raises(AssertionError):
        DatasetCatalog.register(f"{name}_2", "not a function")


@bundled_only
def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(KeyError, match="coco_2017_train"):
        DatasetCatalog.get("coco_2017_trian")


def test_metadata_is_one_object_written_once(name):
    metadata = MetadataCatalog.get(name)
    assert metadata is MetadataCatalog.get(name)
    assert metadata.set(thing_classes=["a", "b"], evaluator_type="coco") is metadata
    metadata.thing_classes = ["a", "b"]  # the same value again
    with pytest.raises(AssertionError, match="thing_classes"):
        metadata.thing_classes = ["b", "a"]
    assert metadata.get("json_file") is None
    assert metadata.get("evaluator_type", "x") == "coco"
    assert metadata.as_dict() == {
        "name": name,
        "thing_classes": ["a", "b"],
        "evaluator_type": "coco",
    }


def test_missing_metadata_names_the_data_set_and_what_it_has(name):
    MetadataCatalog.get(name).set(thing_classes=["a"])
    with pytest.raises(AttributeError, match=rf"(?s){name}.*thing_classes"):
        _ = MetadataCatalog.get(name).thing_clases
    assert not hasattr(MetadataCatalog.get(name), "json_file")


def test_metadata_is_forgotten_when_removed(name):
    MetadataCatalog.get(name).x = 1
    MetadataCatalog.remove(name)
    assert MetadataCatalog.get(name).get("x") is None
