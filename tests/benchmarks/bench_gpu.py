"""What a GPU does while `predict` runs: against the bare model, a plain loop, and what arithmetic allows.

Run: ``python tests/benchmarks/bench_gpu.py [--size 16384] [--rounds 5] [--device cuda] [--peak 989]``

For each of the two scenes of `bench_predict.py`:

- the rate of the bare model, of the network as the engine runs it (folded: docs/prediction.md) and of the engine in
  turns, and how much of the run the device was busy (events between its kernels);
- a plain loop as many programs have it: fp32, one thread that reads each overlapping tile by itself, normalises
  it on the host, waits for the answer and adds it to arrays of the whole scene, on a part of the scene;
- the floor: the network's floating-point operations at the device's peak (``--peak``, 10^12 a second), and the
  bytes that cross to it and back at the measured speed of the bus;
- how many million px a second 1, 2, 4 ... threads decode: what one device needs to be fed;
- the device's peak memory beside the formula of docs/prediction.md, and the host's.

It needs torch, rasterio and segmentation-models-pytorch only; ``--size 512 --tile 64 --device cpu`` tries it out.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import torch
from prediction import KINDS, Subject, case, rates, wait
from torch.utils.flop_counter import FlopCounterMode

from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader
from geoseg.raster.cache import limited_cache
from geoseg.storage.process_memory import peak_memory_mb

THREADS = (1, 2, 4, 8, 16, 32)


def measure(kind: str, arguments: argparse.Namespace, scratch: Path) -> None:
    scene, model, options = case(kind, arguments, scratch)
    subject = Subject.of(scene, model, options)
    settings, pixels = subject.settings, subject.megapixels
    print(
        f"== {kind}: {len(subject.job.card.bands)} bands of {subject.job.source.dtype}, {arguments.size}² px, tile "
        f"{arguments.tile}, overlap {arguments.tile // 8}, batch {settings.batch_size}, {settings.precision}"
    )
    rates(subject, arguments.rounds, scratch / kind)
    if arguments.compile:
        print("-- compiled")
        quick = replace(subject, settings=replace(settings, compile=True))
        rates(quick, arguments.rounds, scratch / f"{kind}-compiled")
    part = min(arguments.plain_rows, arguments.size)
    seconds = plain_loop(scene, subject, part)
    plain = part * arguments.size / 1e6 / seconds
    engine = pixels / subject.engine(scratch / f"{kind}-again").seconds
    print(
        f"plain loop  {plain:.2f} million scene px/s on {part} rows; the engine is {engine / plain:.1f} times that"
    )
    floor(subject, arguments.peak)
    decoding(subject)
    device_memory(subject, scratch / f"{kind}-memory")
    print(f"peak memory of the process {peak_memory_mb():,.0f} MB")


def plain_loop(scene: Path, subject: Subject, rows: int) -> float:
    """Seconds for the top rows of the scene, as a plain program would go about them."""
    card, tiling, device = subject.job.card, subject.job.tiling, torch.device(subject.settings.device)
    gain, bias = (np.array(each, dtype=np.float32)[:, None, None] for each in card.normalisation())
    network = copy.deepcopy(subject.model.network).to(device).float().eval()
    width, size = subject.job.grid.width, tiling.size
    sums = np.zeros((len(card.channels), rows, width), dtype=np.float32)
    weights = np.zeros((rows, width), dtype=np.float32)
    taper = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1]).astype(np.float32)
    windows = list(tiling.windows((rows, width)))
    started = time.perf_counter()
    with rasterio.open(scene) as dataset, torch.no_grad():
        for window in windows:
            at = rasterio.windows.Window(window.col, window.row, size, size)
            tile = dataset.read(window=at).astype(np.float32) * gain + bias
            logits = network(torch.from_numpy(tile[None]).to(device))
            found = torch.softmax(logits, dim=1)[0].cpu().numpy()
            place = (slice(window.row, window.row + size), slice(window.col, window.col + size))
            sums[(slice(None), *place)] += found * taper
            weights[place] += taper
    for plane in sums:
        plane /= weights
    sums.argmax(axis=0)
    return time.perf_counter() - started


def floor(subject: Subject, peak: float) -> None:
    """Seconds below which neither arithmetic nor the bus lets anybody come."""
    network = subject.bare()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.logits(network.inputs)
    operations = counter.get_total_flops() * subject.tiles / len(network.inputs)
    card, grid = subject.job.card, subject.job.grid
    there = grid.height * grid.width * (len(card.bands) * subject.job.source.dtype.itemsize + 1)
    back = grid.height * grid.width * 2
    arithmetic, bus = operations / (peak * 1e12), (there + back) / bus_speed(network.inputs.device)
    bare = network.seconds(subject.tiles)
    print(
        f"floor: {operations / 1e12:.2f} * 10^12 operations are {arithmetic:.3f} s at {peak:g} * 10^12 a second, "
        f"{(there + back) / 1e9:.2f} GB over the bus {bus:.3f} s; the bare model takes {bare:.3f} s, "
        f"{bare / max(arithmetic, 1e-9):.1f} times its floor"
    )


def bus_speed(device: torch.device) -> float:
    """Bytes a second from this side to the device."""
    data = torch.zeros(2**26, dtype=torch.uint8)
    data = data.pin_memory() if device.type == "cuda" else data
    target, taken = torch.zeros_like(data, device=device), []
    for _ in range(5):
        started = time.perf_counter()
        target.copy_(data, non_blocking=True)
        wait(device)
        taken.append(time.perf_counter() - started)
    return data.numel() / min(taken)


def decoding(subject: Subject) -> None:
    """How fast the scene comes off the disk by number of threads."""
    job, found = subject.job, []
    for threads in (count for count in THREADS if count <= 2 * (os.cpu_count() or 1)):
        plan = Plan.of(job.grid.shape, job.tiling, subject.settings.batch_size)
        reader = RowReader(job.source, plan, tolerant=False, threads=threads)
        started = time.perf_counter()
        with limited_cache(256):
            for _ in chips(reader, plan):
                pass
        reader.close()
        found.append(f"{threads}: {subject.megapixels / (time.perf_counter() - started):.0f}")
    print(f"decoding, million px/s by threads: {', '.join(found)}")


def device_memory(subject: Subject, folder: Path) -> None:
    """Tell what a run needs on the device beyond the bare model, and what the formula allows."""
    job, settings = subject.job, subject.settings
    plan, channels = replace(job, settings=settings).plan, len(job.card.channels)
    rows = max(strip.read_stop - strip.start for strip in plan.strips)
    stored = len(job.card.bands) * job.source.dtype.itemsize + 2
    allowed = plan.padded[1] * rows * (4 * channels + 16 + stored)
    allowed += 8 * settings.batch_size * job.tiling.size**2 * channels
    if settings.device != "cuda":
        print(
            f"memory of a device, beside network and batch: the formula allows {allowed / 1e6:,.0f} MB; none here"
        )
        return
    alone = device_peak(partial(subject.own().seconds, 1))
    run = device_peak(lambda: subject.engine(folder))
    print(
        f"memory of the device: network and batch {alone / 1e6:,.0f} MB, a run {(run - alone) / 1e6:,.0f} MB more; the "
        f"formula allows {allowed / 1e6:,.0f}"
    )


def device_peak(work: Callable[[], object]) -> int:
    """Most bytes that tensors had on the device meanwhile."""
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


def chips(reader: RowReader, plan: Plan) -> Iterator[object]:
    for strip in plan.strips:
        reads = plan.reads(strip)
        yield reader.read(reads.start, reads.stop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--plain-rows", type=int, default=1024, help="rows that the plain loop does")
    parser.add_argument(
        "--peak", type=float, default=989, help="10^12 operations a second (H100, H200: bf16, dense)"
    )
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "auto" and not torch.cuda.is_available():
        print("there is no CUDA device here; --size 512 --tile 64 --device cpu tries the script out")
        return
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    print(f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.kinds:
            measure(kind, arguments, Path(scratch))


if __name__ == "__main__":
    main()
