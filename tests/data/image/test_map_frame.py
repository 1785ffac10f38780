"""Boxes of GeoTIFF files in longitude and latitude.

The map coordinates of pixels are computed by hand. Their degrees are known where a transverse
Mercator has its central meridian, from the WGS84 ellipsoid's own numbers where it is longitude and
latitude already, and from a spherical formula for web Mercator.
"""

import json
import math

from lowres_d2.data.image import ImageReader
from lowres_d2.data.image.map_frame import MapFrame, NoMapFrameError, as_stored
from lowres_d2.programs.demo_geojson import map_files, write_geojson

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip("rasterio", reason="needs rasterio: extra `geo`")
RADIUS = 6378137.0  # of web Mercator's sphere, in metres


def write(path, affine, crs, shape=(3, 40, 60), dtype="uint8", **more):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    options = dict(driver="GTiff", count=shape[0], height=shape[1], width=shape[2], dtype=dtype)
    affine = affine and rasterio.Affine(*affine)
    with rasterio.open(path, "w", **options, crs=crs, transform=affine, **more) as file:
        file.write(values)
    return values


def ring(geometry):
    assert geometry["type"] == "Polygon" and len(geometry["coordinates"]) == 1
    return np.array(geometry["coordinates"][0])


def signed_area(points):
    x, y = (points - points[0]).T
    return (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2


def mercator(points):
    x, y = np.asarray(points, float).T
    return np.stack([np.degrees(x / RADIUS), np.degrees(np.arctan(np.sinh(y / RADIUS)))], 1)


def test_degrees_stay_degrees_and_rings_turn_counterclockwise(tmp_path):
    write(tmp_path / "a.tif", (0.5, 0, 10, 0, -0.25, 50), "EPSG:4326")
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([[4, 8, 10, 20]]))
    # Longitude first, though EPSG:4326 has latitude first: 10 + 4/2 and 50 - 8/4.
    assert ring(found).tolist() == [[12, 48], [12, 45], [15, 45], [15, 48], [12, 48]]
    assert signed_area(ring(found)) > 0


def test_a_rotated_and_sheared_geotransform_maps_all_four_corners(tmp_path):
    a, b, c, d, e, f = affine = (3.0, -1.5, 1e6, 0.5, 4.0, 6e6)  # y goes south to north, too
    write(tmp_path / "a.tif", affine, "EPSG:3857")
    x0, y0, x1, y1 = box = [2.5, 7, 30, 11.25]
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([box]))
    corners = [(x0, y0), (x0, y1), (x1, y1), (x1, y0)]
    wanted = mercator([(a * x + b * y + c, d * x + e * y + f) for x, y in corners])
    got = ring(found)
    assert len(got) == 5 and (got[0] == got[-1]).all() and signed_area(got) > 0
    # Counterclockwise on the map, which this geotransform does not mirror.
    assert np.abs(got[:4] - wanted[[0, 3, 2, 1]]).max() < 1e-8


def test_utm_on_its_central_meridian(tmp_path):
    """Zone 33 has 15 degrees east at 500 km, and the equator at 0; 0.9996 is its scale there."""
    write(tmp_path / "a.tif", (10, 0, 500_000, 0, -10, 0), "EPSG:32633")
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([[0, 0, 1, 1]]))
    first = ring(found)[0]
    assert first == pytest.approx([15, 0], abs=1e-8)
    east = ring(found)[:, 0].max() - 15
    assert east == pytest.approx(math.degrees(10 / 0.9996 / 6378137), rel=1e-3)


HALF = math.pi * RADIUS
TENTH = math.radians(0.1) * RADIUS


@pytest.mark.parametrize(
    ("crs", "affine"),
    [
        ("EPSG:3857", (TENTH, 0, HALF - 2 * TENTH, 0, -TENTH, 0)),
        ("EPSG:3857", (TENTH, 0, -HALF - 2 * TENTH, 0, -TENTH, 0)),
        ("EPSG:4326", (0.1, 0, 179.8, 0, -0.1, 0)),  # longitudes from 0 to 360
    ],
)
def test_a_box_across_the_180th_meridian_is_cut_there(tmp_path, crs, affine):
    write(tmp_path / "a.tif", affine, crs)
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([[1, 0, 3, 1]]))
    assert found["type"] == "MultiPolygon"
    east, west = (np.array(polygon[0]) for polygon in found["coordinates"])
    assert signed_area(west) > 0 and signed_area(east) > 0
    for points, ends in ((west, (-180, -179.9)), (east, (179.9, 180))):
        assert (points[:, 0].min(), points[:, 0].max()) == pytest.approx(ends, abs=1e-8)
        assert (points[:, 1].min(), points[:, 1].max()) == pytest.approx((-0.1, 0), abs=1e-6)
        assert (points[0] == points[-1]).all() and len(points) == 5


def test_a_box_of_more_than_half_of_the_globe(tmp_path):
    write(tmp_path / "a.tif", (4, 0, -120, 0, -1, 20), "EPSG:4326")
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([[0, 0, 60, 40]]))
    assert ring(found).tolist() == [[-120, 20], [-120, -20], [120, -20], [120, 20], [-120, 20]]


def test_a_box_around_the_pole_reaches_it(tmp_path):
    write(tmp_path / "a.tif", (1000, 0, -20_000, 0, -1000, 20_000), "EPSG:3413")
    (found,) = MapFrame.of(str(tmp_path / "a.tif")).geometries(np.array([[10, 10, 30, 30]]))
    points = ring(found)
    # All longitudes, and the latitudes between the corners, 14.142 km away, and the pole: there the
    # projection's scale is 0.9698, and a degree has 111.69 km.
    assert signed_area(points) == pytest.approx(360 * 14.142 / 0.9698 / 111.69, rel=1e-3)
    assert points[:, 1].max() == 90 and np.abs(points[:, 0]).max() <= 180


def test_boxes_off_the_earth_have_no_geometry(tmp_path):
    """A geostationary image, whose corners show space."""
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84"
    write(tmp_path / "a.tif", (2e5, 0, -6e6, 0, -2e5, 6e6), crs, (1, 60, 60))
    boxes = np.array([[0, 0, 2, 2], [29, 29, 31, 31]])
    space, middle = MapFrame.of(str(tmp_path / "a.tif")).geometries(boxes)
    assert space is None and ring(middle)[:4].mean(0) == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("affine", "crs", "message"),
    [
        (None, None, "it has no geotransform and no CRS"),
        (None, "EPSG:3857", "it has no geotransform$"),
        ((1, 0, 5, 0, -1, 5), None, "it has no CRS$"),
        ((1, 0, 5, 0, -1, 5), 'LOCAL_CS["site",UNIT["metre",1]]', "its CRS, .* has no longitude"),
    ],
)
def test_files_without_a_place_say_what_they_lack(tmp_path, affine, crs, message, recwarn):
    write(tmp_path / "a.tif", affine, crs)
    warned = len(recwarn)
    with pytest.raises(NoMapFrameError, match=message) as error:
        MapFrame.of(str(tmp_path / "a.tif"))
    assert "\n" not in str(error.value)
    # Those of files that tests before have left open come when memory is collected.
    shown = {warning.category.__name__ for warning in recwarn.list[warned:]} - {"ResourceWarning"}
    assert not shown


def test_a_missing_rasterio_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(NoMapFrameError, match=r"pip install 'lowres-d2\[geo\]'"):
        MapFrame.of(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_rotated_images_go_back_to_the_file(tmp_path, orientation):
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[1, 2] = 255  # the pixel from (2, 1) to (3, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif)
    shown, applied = ImageReader(exif="apply").show_turned(str(tmp_path / "a.tif"))
    assert applied == orientation
    (y,), (x,) = np.nonzero(shown[..., 0])
    assert as_stored(np.array([x + 0.5, y + 0.5]), orientation, (5, 7)).tolist() == [2.5, 1.5]


def test_the_file_has_what_the_json_file_has(tmp_path):
    write(tmp_path / "a.tif", (0.5, 0, 10, 0, -0.25, 50), "EPSG:4326")
    row = {"category": "ship", "label": 3, "bbox": [4.0, 8.0, 6.0, 12.0], "score": 0.75}
    record = {"file_name": "a.tif", "score_threshold": 0.5, "detections": [row]}
    target = tmp_path / "out.geojson"
    write_geojson(target, tmp_path / "a.tif", record, np.array([[4.0, 8, 10, 20]]), 1)
    written = json.loads(target.read_text())
    (feature,) = written.pop("features")
    assert written == {"type": "FeatureCollection", "file_name": "a.tif", "score_threshold": 0.5}
    assert feature["type"] == "Feature" and feature["geometry"]["coordinates"][0][0] == [12, 48]
    assert feature["properties"] == {
        "category": "ship", "label": 3, "score": 0.75, "bbox_in_pixels": [4, 8, 6, 12]
    }  # fmt: skip


def test_each_tiff_has_a_geojson_of_its_own(tmp_path):
    files = [tmp_path / name for name in ("a.tif", "b.png", "a.TIFF", "c.tif")]
    targets = [tmp_path / "out" / file.name for file in files]
    found = map_files(files, targets)
    names = {target.name: path.name for target, path in found.items()}
    assert names == {"a.tif": "a.geojson", "a.TIFF": "a-2.geojson", "c.tif": "c.geojson"}


@pytest.mark.parametrize(
    ("count", "dtype", "form"), [(3, "uint8", "RGB"), (1, "uint16", "RGB"), (5, "uint16", None)]
)
def test_bands_and_depths_are_those_of_the_reader(tmp_path, count, dtype, form):
    """A geotransform changes no pixel."""
    values = write(
        tmp_path / "a.tif", (10, 0, 5e5, 0, -10, 5e6), "EPSG:32633", (count, 20, 30), dtype
    )
    read = ImageReader(form).read(str(tmp_path / "a.tif"))
    top = np.iinfo(dtype).max
    wanted = values.transpose(1, 2, 0).astype(np.float64) * 255 / top
    assert np.abs(read - wanted).max() < 1e-4
    assert MapFrame.of(str(tmp_path / "a.tif")).size == (20, 30)
