"""One handle per thread and process, never across a fork; never what a file was before."""

import multiprocessing
import os
import pickle
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from rasterio.errors import RasterioError
from rasterio.shutil import copy

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster import handles
from geoseg.raster.scene import Scene


@pytest.fixture
def scene_and_pixels(write):
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 256, 256)).astype("uint16")
    return Scene.open(write("a.tif", pixels, tiled=True, blockxsize=16, blockysize=16)), pixels


def _windows(count, seed):
    rng = np.random.default_rng(seed)
    return [Window(row=int(r), col=int(c), height=40, width=40) for r, c in rng.integers(0, 216, (count, 2))]


def _wrong(chips, windows, pixels):
    pairs = zip(chips, windows, strict=True)
    return sum(not np.array_equal(chip.pixels, pixels[:, *window.slices]) for chip, window in pairs)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_read_what_is_there(scene_and_pixels, method):
    """The parent's handle is open when its children are made, as with any data loader."""
    scene, pixels = scene_and_pixels
    windows = _windows(400, 1)
    assert _wrong(map(scene.read, windows[:5]), windows[:5], pixels) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: it is what is tested
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            chips = list(pool.map(scene.read, windows, chunksize=20))
            assert _wrong(map(scene.read, windows[:50]), windows[:50], pixels) == 0
    assert _wrong(chips, windows, pixels) == 0


def test_a_forked_child_opens_its_own(scene_and_pixels):
    scene, _ = scene_and_pixels
    window = Window(row=0, col=0, height=4, width=4)
    scene.read(window)
    with handles.handle(scene.file.location) as dataset:
        parents = id(dataset)
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with handles.handle(scene.file.location) as dataset:
            os.write(sending, b"same" if id(dataset) == parents else b"own!")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receiving, 4) == b"own!"
    os.close(receiving)
    os.close(sending)


def test_threads_read_what_is_there_each_with_its_own_handle(scene_and_pixels):
    scene, pixels = scene_and_pixels
    windows = _windows(400, 2)
    with ThreadPoolExecutor(4) as pool:
        assert _wrong(pool.map(scene.read, windows), windows, pixels) == 0


def test_a_thread_takes_its_handles_with_it(scene_and_pixels):
    scene, _ = scene_and_pixels
    held = []

    def read():
        with handles.handle(scene.file.location) as dataset:
            held.append(dataset)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert held[0].closed


def test_the_handle_unused_for_longest_is_closed(write):
    window = Window(row=0, col=0, height=1, width=1)
    scenes = [
        Scene.open(write(f"{i}.tif", np.full((1, 2, 2), i, "uint8"))) for i in range(handles._MOST_OPEN + 5)
    ]
    with handles.handle(scenes[-1].file.location) as last, handles.handle(scenes[5].file.location) as fifth:
        pass
    for scene in scenes[:10]:
        scene.read(window)
    assert not last.closed
    assert not fifth.closed
    with handles.handle(scenes[0].file.location):
        open_now = [d for shelf in handles._kept.values() for d in shelf.values() if not d.closed]
    assert len(open_now) <= handles._MOST_OPEN
    assert [int(s.read(window).pixels[0, 0, 0]) for s in scenes] == list(range(len(scenes)))


def test_a_file_that_was_replaced_is_refused_not_mixed(write):
    window = Window(row=0, col=0, height=4, width=4)
    scene = Scene.open(write("a.tif", np.zeros((1, 40, 40), "uint8")))
    assert not scene.read(window).pixels.any()
    write("a.tif", np.ones((1, 50, 50), "uint8"))
    with pytest.raises(SceneError, match="changed while it was in use"):
        scene.read(window)
    assert Scene.open(scene.path).read(window).pixels.all()


def test_a_pickle_holds_no_handle(scene_and_pixels):
    scene, _ = scene_and_pixels
    scene.read(Window(row=0, col=0, height=4, width=4))
    assert b"rasterio" not in pickle.dumps(scene)


def test_copying_raises_errors_that_only_a_private_module_of_rasterio_names(write, tmp_path):
    """If rasterio moves ``_err.CPLE_BaseError``: a map that cannot be copied into place, as on a full disk, and a
    legend that cannot be read end in a traceback, where they ended in one line. If copying raises a RasterioError
    one day: ``GDAL_ERRORS`` needs the private name no more.
    """
    name = write("a.tif", np.ones((1, 4, 4), "float32"))
    with pytest.raises(handles.GDAL_ERRORS, match="doesn't support data type") as caught:
        copy(name, tmp_path / "a.png", driver="PNG")
    assert not isinstance(caught.value, RasterioError | OSError)
