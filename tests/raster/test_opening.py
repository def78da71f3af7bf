"""Which files GDAL may open for us: nothing that makes it go to the network or to files that nobody named."""

import http.server
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.opening import allow_remote, drivers_of, remote_allowed
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image, read_tags
from jingwei.raster.writing import TiledWriter

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 40, 60), dtype=np.uint8)
WHOLE = Window(0, 0, 40, 60)


def tiff(path, pixels=PIXELS, driver="GTiff", **how) -> Path:
    bands, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver=driver, count=bands, height=height, width=width, dtype=pixels.dtype, **how
    ) as file:
        file.write(pixels)
    return path


def vrt(inside: str, attributes: str = "") -> str:
    """A VRT of one band."""
    band = f'<VRTRasterBand dataType="Byte" band="1" {attributes}>{inside}</VRTRasterBand>'
    return f'<VRTDataset rasterXSize="60" rasterYSize="40">{band}</VRTDataset>'


def source(name, kind: str = "SimpleSource") -> str:
    return f'<{kind}><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand></{kind}>'


def raw(name) -> str:
    inside = f"<SourceFilename>{name}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
    return vrt(f"{inside}<LineOffset>60</LineOffset>", 'subClass="VRTRawRasterBand"')


@pytest.fixture
def server():
    """A server on this machine: (its address, the requests that it got)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def hostile(kind: str, address: str, folder: Path) -> str:
    """Text that makes GDAL fetch, or read another file, whatever the name of the file that holds it."""
    secret = folder / "secret.bin"
    secret.write_bytes(b"secret" * 400)
    size = "<DataWindow><SizeX>60</SizeX><SizeY>40</SizeY></DataWindow><BandsCount>3</BandsCount>"
    return {
        "raw VRT": raw(secret),
        "VRT over the network": vrt(source(f"/vsicurl/{address}/a.tif")),
        "WMS": f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/${{z}}</ServerUrl></Service>{size}</GDAL_WMS>',
        "WMTS": f"<GDAL_WMTS><GetCapabilitiesUrl>{address}/caps</GetCapabilitiesUrl></GDAL_WMTS>",
        "WCS": f"<WCS_GDAL><ServiceURL>{address}/wcs?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>",
        "tile index": f"<GDALTileIndexDataset><IndexDataset>{address}/i.gpkg</IndexDataset></GDALTileIndexDataset>",
        "STAC": '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": [{"type": "Feature", '
        f'"stac_version": "1.0.0", "properties": {{}}, "assets": {{"a": {{"href": "{address}/a.tif"}}}}}}]}}',
        "MRF": f"<MRF_META><CachedSource><Source>/vsicurl/{address}/a.tif</Source></CachedSource></MRF_META>",
        "PDS": f'PDS_VERSION_ID = PDS3\nRECORD_TYPE = FIXED_LENGTH\nRECORD_BYTES = 60\n^IMAGE = "{secret.name}"\n'
        "OBJECT = IMAGE\nLINES = 40\nLINE_SAMPLES = 60\nSAMPLE_TYPE = UNSIGNED_INTEGER\nSAMPLE_BITS = 8\n"
        "END_OBJECT = IMAGE\nEND\n",
    }[kind]


HOSTILE = ("raw VRT", "VRT over the network", "WMS", "WMTS", "WCS", "tile index", "STAC", "MRF", "PDS")


@pytest.mark.parametrize("name", ["image_3.png", "a.tif", "a.TIFF", "a.jpg", "a.jp2", "a.img", "scene", "a.dat"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_names_other_places_is_not_opened_under_another_ending(kind, name, server, tmp_path):
    address, asked = server
    (tmp_path / name).write_text(hostile(kind, address, tmp_path))
    with pytest.raises(InputError, match=f"{name}: is not a raster that GDAL can read") as refused:
        Raster(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert asked == []


@pytest.mark.parametrize("kind", ["raw VRT", "VRT over the network", "WMS", "STAC"])
@pytest.mark.parametrize("way", ["source", "source of a source", "mask beside", "mask beside a source", "overview"])
def test_nor_is_it_by_way_of_a_file_that_is_fine(kind, way, server, tmp_path):
    address, asked = server
    text = hostile(kind, address, tmp_path)
    tiff(tmp_path / "a.tif", PIXELS[:1])
    named = tmp_path / "a.vrt"
    named.write_text(vrt(source("a.tif")))
    if way == "source":
        (tmp_path / "b.png").write_text(text)
        named.write_text(vrt(source("b.png")))
    elif way == "source of a source":
        (tmp_path / "c.tif").write_text(text)
        (tmp_path / "b.vrt").write_text(vrt(source("c.tif")))
        named.write_text(vrt(source("b.vrt")))
    elif way == "overview":
        (tmp_path / "a.tif.ovr").write_text(text)
        named = tmp_path / "a.tif"
    else:
        (tmp_path / "a.tif.msk").write_text(text)
        named = tmp_path / "a.tif" if way == "mask beside" else named
    with pytest.raises(InputError) as refused:
        with Raster(named) as image:
            image.read(WHOLE)
    assert "\n" not in str(refused.value)
    assert asked == []


@pytest.mark.parametrize(("text", "problem"), [
    (raw("/etc/hostname"), "has raw bands"),
    (raw("/etc/hostname").replace("subClass", "SUBCLASS").replace("VRTRaw", "vrtRAW"), "has raw bands"),
    (vrt(source("/vsicurl/http://x/a.tif").replace("SourceFilename", "sourcefilename")), "names /vsicurl"),
    (vrt('<SimpleSource SourceFilename="/vsicurl/http://x/a.tif"/>'), "names /vsicurl"),
    (vrt(source("HTTP://example.org/a.tif")), "names HTTP"), (vrt(source("WMTS:x,layer=a")), "names WMTS"),
    (vrt(source("&lt;GDAL_WMS>&lt;/GDAL_WMS>")), "names <GDAL_WMS>"), (vrt(source("MEM:::DATAPOINTER=1")), "names MEM"),
    (vrt("<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>",
         'subClass="VRTDerivedRasterBand"'), "runs Python"),
    (vrt("<PixelFunctionCode>import os</PixelFunctionCode>", 'subClass="VRTDerivedRasterBand"'), "runs Python"),
    (vrt(source("loop.vrt")), "goes through more than 8 VRTs"), (vrt(source("folder")), "names folder"),
    (vrt(source("a.json")), "names a.json, of a format that may name other files"),
    ("<!DOCTYPE a [<!ENTITY b 'c'>]>" + vrt(source("a.tif")), "defines entities"),
    (vrt(source("a.tif"))[:90], "is not a VRT that can be read"), ("", "is not a VRT that can be read"),
    ("<VRTDataset>" * 100_000, "is not a VRT that can be read"),
    (vrt(source("a.tif") + '<SrcRect xOff="0" yOff="0" xSize="5"/>'), "has a SrcRect without its four numbers"),
    (vrt(source("a.tif") + '<DstRect xOff="0" yOff="0" xSize="5" ySize="ten"/>'), "has a DstRect without its four"),
])  # fmt: skip
def test_a_vrt_is_refused_by_one_line(text, problem, tmp_path):
    tiff(tmp_path / "a.tif", PIXELS[:1])
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.json").write_text('{"type": "FeatureCollection", "stac_version": "1.0.0"}')
    (tmp_path / "loop.vrt").write_text(text)
    with pytest.raises(InputError, match=rf"loop.vrt: {problem}") as refused:
        Raster(tmp_path / "loop.vrt")
    assert "\n" not in str(refused.value)


def test_allow_remote_opens_them_and_says_so_to_other_processes(tmp_path, server):
    address, asked = server
    (tmp_path / "image_3.png").write_text(hostile("raw VRT", address, tmp_path))
    (tmp_path / "net.vrt").write_text(hostile("VRT over the network", address, tmp_path))
    assert not remote_allowed()
    with allow_remote():
        assert remote_allowed()
        assert os.environ["JINGWEI_ALLOW_REMOTE"] == "1"
        with Raster(tmp_path / "image_3.png") as image:
            assert image.read(WHOLE)[0].tobytes()[:6] == b"secret"
        with pytest.raises(InputError), Raster(tmp_path / "net.vrt") as image:
            image.read(WHOLE)
        assert asked
        with allow_remote(False):
            assert not remote_allowed()
    assert not remote_allowed()
    assert "JINGWEI_ALLOW_REMOTE" not in os.environ


@pytest.mark.parametrize("name", ["a.tif", "a.vrt"])
def test_a_path_behind_vsi_is_named_by_the_user(name, server, tmp_path):
    address, asked = server
    with pytest.raises(InputError, match="is not a raster that GDAL can read"):
        Raster(Path(f"/vsicurl/{address}/{name}"))  # which makes one slash of two
    assert any(name in path for path in asked)


def test_an_archive_named_by_the_user_is_read(tmp_path):
    import zipfile

    tiff(tmp_path / "a.tif")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.tif", "in/a.tif")
    with Raster(f"/vsizip/{tmp_path}/a.zip/in/a.tif") as image:
        np.testing.assert_array_equal(image.read(WHOLE)[0], PIXELS)


# --- what is opened as it was ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "a.TIF", "a.Tif", "a.tiff", "a.img", "scene", "a.dat", "a#1.tif", "a?x=1.tif", "a%25.tif", "HDF5:a.tif", "图.tif",
    "a.tif.part", "x" * 240 + ".tif",
])  # fmt: skip
def test_tiffs_under_any_name_are_read(name, tmp_path):
    tiff(tmp_path / "plain.tif").rename(tmp_path / name)
    with open_image(tmp_path / name) as image:
        np.testing.assert_array_equal(image.read(WHOLE)[0], PIXELS)


@pytest.mark.parametrize("name", ["a.Png", "a.PNG", "a.tif", "scene"])
def test_a_png_under_a_picture_s_ending_is_read(name, tmp_path):
    write_png(tmp_path / name, PIXELS.transpose(1, 2, 0))
    with open_image(tmp_path / name) as image:
        np.testing.assert_array_equal(image.read(WHOLE)[0], PIXELS)


@pytest.mark.parametrize(("driver", "name"), [("ENVI", "scene"), ("ENVI", "a.img"), ("ENVI", "a.dat"), ("HFA", "a.img"),
                                              ("EHdr", "a.bil"), ("SAGA", "a.sdat")])  # fmt: skip
def test_other_formats_and_files_without_an_ending_are_read(driver, name, tmp_path):
    pixels = PIXELS[:1] if driver == "SAGA" else PIXELS
    tiff(tmp_path / name, pixels, driver=driver)
    with open_image(tmp_path / name) as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, *image.shape))[0][:, :40, :60], pixels)


@pytest.mark.parametrize("driver", ["GTiff", "ENVI", "HFA", "PNG"])
def test_vrts_of_plain_files_are_read(driver, tmp_path):
    tiff(tmp_path / "a.tif", PIXELS[:1])
    name = {"GTiff": "a.tif", "ENVI": "envi", "HFA": "a.img", "PNG": "b.png"}[driver]
    if driver != "GTiff":
        rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / name, driver=driver)
    rasterio.shutil.copy(tmp_path / name, tmp_path / "b.vrt", driver="VRT")
    (tmp_path / "c.VRT").write_text(vrt(source("b.vrt", "ComplexSource")))
    with open_image(tmp_path / "c.VRT") as image:
        np.testing.assert_array_equal(image.read(WHOLE)[0], PIXELS[:1])


def test_names_in_other_encodings_are_read(tmp_path):
    """As they come out of archives that were packed in China."""
    folder = tmp_path / os.fsdecode("样本".encode("gbk"))
    folder.mkdir()
    path = folder / os.fsdecode("描述.tif".encode("gbk"))
    with TiledWriter(path, 40, 60, bands=3, tags={"A": "b"}) as writer:
        writer.write(WHOLE, PIXELS)
    (folder / "a.vrt").write_bytes(vrt(source("描述.tif")).encode("gbk"))
    for name, bands in ((path, 3), (folder / "a.vrt", 1)):
        with open_image(name) as image:
            np.testing.assert_array_equal(image.read(WHOLE)[0], PIXELS[:bands])
    assert read_tags(path) == {"A": "b", "AREA_OR_POINT": "Area"} or read_tags(path) == {"A": "b"}
    write_png(folder / os.fsdecode("描述.png".encode("gbk")), PIXELS[0])
    with open_image(folder / os.fsdecode("描述.png".encode("gbk"))) as image:
        np.testing.assert_array_equal(image.read_rows(0, 40)[0], PIXELS[:1])


# --- GDAL's ways to fail ---------------------------------------------------------------------------------------------


def test_a_missing_source_whose_name_is_not_utf8_is_said(tmp_path, capfd):
    """GDAL's message can't be decoded then, and rasterio gave zeros for pixels."""
    (tmp_path / "a.vrt").write_bytes(vrt(source("描述.tif")).encode("gbk"))
    with pytest.raises(InputError, match="a.vrt: broken or truncated at rows 0 to 40 of 40") as refused:
        with open_image(tmp_path / "a.vrt") as image:
            image.read(WHOLE)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_message_that_is_not_utf8_is_one_line(tmp_path, capfd):
    (tmp_path / "a.vrt").write_bytes(vrt("").replace("Byte", "描述").encode("gbk"))
    with pytest.raises(InputError, match="a.vrt: is not a raster that GDAL can read .Invalid dataType"):
        Raster(tmp_path / "a.vrt")
    assert capfd.readouterr().err == ""


def test_containers_without_bands_name_what_is_in_them(tmp_path):
    tiff(tmp_path / "a.tif", crs="EPSG:3857", transform=rasterio.transform.from_origin(0, 0, 1, 1))
    for table in ("A", "B"):
        more = {} if table == "A" else {"APPEND_SUBDATASET": "YES"}
        rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "two.gpkg", driver="GPKG", RASTER_TABLE=table, **more)
    with pytest.raises(InputError) as refused:
        Raster(tmp_path / "two.gpkg")
    name = f"GPKG:{tmp_path / 'two.gpkg'}:A"
    assert str(refused.value).startswith(f"{tmp_path / 'two.gpkg'}: holds 2 pictures ({name}, GPKG:")
    assert str(refused.value).endswith(f": take one out, as by: rio convert '{name}' one.tif")


@pytest.mark.parametrize(("sizes", "refused"), [
    ([(40, 60), (40, 60)], True), ([(40, 60), (80, 60)], True), ([(40, 60), (10, 15)], False), ([(40, 60)], False),
    ([(40, 60), (10, 15), (50, 60)], True),
])  # fmt: skip
def test_pages_of_a_tiff_are_previews_or_a_stack(sizes, refused, tmp_path):
    """The first page is the picture where it is the largest; else nobody knows which one is meant."""
    pages = [Image.fromarray(np.full((*size, 3), 50 * number, np.uint8)) for number, size in enumerate(sizes, 1)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    if refused:
        with pytest.raises(InputError, match=rf"pages.tif: holds {len(sizes)} pages \(GTIFF_DIR:1:.*: take one out"):
            Raster(tmp_path / "pages.tif")
        return
    with open_image(tmp_path / "pages.tif") as image:
        assert image.shape == (40, 60)
        assert (image.read(WHOLE)[0] == 50).all()


def test_our_own_masks_and_overviews_are_no_pages(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 600, 700), dtype=np.uint8)
    with TiledWriter(tmp_path / "a.tif", 600, 700, bands=3, mask=True, overviews=True) as writer:
        writer.write(Window(0, 0, 600, 700), pixels, np.ones((600, 700), bool))
    with open_image(tmp_path / "a.tif") as image:
        assert image.shape == (600, 700)


@pytest.mark.parametrize("height", [2, 2_000_000_000])
def test_absurd_widths_are_refused(height, tmp_path):
    text = vrt(source("a.tif")).replace('"60"', '"2000000000"').replace('"40"', f'"{height}"')
    (tmp_path / "a.vrt").write_text(text)
    with pytest.raises(InputError, match="a.vrt: is 2,000,000,000 px wide, more than fits in memory: cut it"):
        Raster(tmp_path / "a.vrt")


def test_formats_that_may_name_other_files_are_opened_when_they_are_trusted(tmp_path):
    with rasterio.Env() as env:
        if "netCDF" not in env.drivers():
            pytest.skip("this GDAL reads no netCDF")
    tiff(tmp_path / "a.tif", PIXELS[:1])
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.nc", driver="netCDF")
    with pytest.raises(InputError, match="a.nc: is netCDF, which may name other files: trust it with `allow_remote`"):
        Raster(tmp_path / "a.nc")
    with allow_remote(), Raster(tmp_path / "a.nc") as image:
        assert image.read(WHOLE)[0].shape == (1, 40, 60)


def test_the_drivers_of_endings_are_none_that_are_virtual():
    virtual = {"VRT", "WMS", "WMTS", "WCS", "HTTP", "PLMOSAIC", "GTI", "STACIT", "STACTA", "DERIVED", "MEM", "EEDAI"}
    for name in ("a.png", "a.tif", "a", "a.img", "a.nc", "a.xml", "a.json", "A.VRT.tif"):
        assert not virtual & set(drivers_of(name))
        assert drivers_of(name)
    assert drivers_of("a.Vrt") == ["VRT"]


def test_the_files_of_a_vrt_are_all_that_hold_its_pixels_and_masks(tmp_path):
    mask = (PIXELS[0] > 9).astype(np.uint8) * 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        tiff(tmp_path / "a.tif", PIXELS[:1])
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.write_mask(mask)
    (tmp_path / "b.vrt").write_text(vrt(source("a.tif")))
    (tmp_path / "c.vrt").write_text(vrt(source("b.vrt") + source("a.tif") + source("missing.tif")))
    tiff(tmp_path / "e.img", PIXELS[:1], driver="ENVI")
    for name, files in {
        "a.tif": ["a.tif", "a.tif.msk"], "c.vrt": ["a.tif", "a.tif.msk", "b.vrt", "c.vrt"], "e.img": ["e.hdr", "e.img"],
    }.items():  # fmt: skip
        with Raster(tmp_path / name) as image:
            assert sorted(path.name for path in image.files) == files


def test_facts_change_with_what_is_beside_a_file_but_not_with_statistics(tmp_path):
    path = tiff(tmp_path / "a.tif")

    def facts():
        with Raster(path) as image:
            return json.dumps(image.facts)

    first = facts()
    statistics = '<MDI key="STATISTICS_MEAN">3</MDI>'
    inside = f'<PAMRasterBand band="1"><Metadata>{statistics}</Metadata></PAMRasterBand>'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{inside}</PAMDataset>")
    assert facts() == first
    nodata = '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{nodata}</PAMDataset>")
    assert facts() != first
    (tmp_path / "a.tif.aux.xml").unlink()
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n500000\n4000000\n")
    assert facts() != first
