"""A configuration becomes a model file."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import lightning
import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from geoseg.datasets.dataset import Chips
from geoseg.datasets.sampler import RandomSampler
from geoseg.datasets.splits import Splits, find_files, open_splits, with_card
from geoseg.datasets.statistics import Statistics, measure
from geoseg.engine.settings import choose_device, choose_precision
from geoseg.errors import OutputError, OutputExistsError
from geoseg.grid.tiling import Tiling
from geoseg.learning.callbacks import KeepBest, Progress, report
from geoseg.learning.config import Config
from geoseg.learning.losses import Loss
from geoseg.learning.scoring import score
from geoseg.learning.surroundings import quiet_lightning, seeded, threads
from geoseg.learning.task import SegmentationTask
from geoseg.models.model import Model
from geoseg.raster.scene import Scene
from geoseg.storage.durable import write_bytes
from geoseg.storage.lock import locked

MODEL: Final = "model.safetensors"
"""Name of the finished model file in a run's folder."""
BEST: Final = "best.safetensors"
METRICS: Final = "metrics.jsonl"
_LIGHTNING_PRECISION: Final = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_log = logging.getLogger(__name__)


def train(
    config: Config | Path | str,
    output: Path | str,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Train a model and write its file.

    The folder holds ``config.yaml`` (every default filled in), ``metrics.jsonl`` (a line an epoch), while it
    runs ``best.safetensors`` (the best epoch so far by mean IoU on the validation images), and at the end
    ``model.safetensors``: the best epoch, with its scores on the validation and test images in its card.

    Law: the same configuration, data, machine and thread count give the same weights (on a CPU).

    Parameters
    ----------
    config : Config or path
    output : path
        Folder of the run; made where it is not there.
    overwrite : bool
        Whether a finished run in that folder may be replaced.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ConfigError, DataError, ModelError, SceneError
        What is wrong with configuration or data, before or while training.
    OutputExistsError, OutputError
    """
    config = config if isinstance(config, Config) else Config.read(config)
    folder = _folder(Path(output), overwrite=overwrite)
    with (
        _empty_removed(folder),
        locked(folder / "run.geoseg-lock", folder),
        threads(config.train.threads),
        seeded(config.train.seed),
        quiet_lightning(),
    ):
        run = _prepare(config)
        for left_over in (METRICS, BEST):
            (folder / left_over).unlink(missing_ok=True)
        settings = config.model_dump(mode="json", exclude_none=True)
        write_bytes(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
        _fit(run, folder, progress=progress)
        return _finish(run, folder)


@contextmanager
def _empty_removed(folder: Path) -> Iterator[None]:
    """Remove the run's folder again where a refusal left nothing in it."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Everything that is settled before the first step."""

    config: Config
    splits: Splits
    statistics: Statistics
    model: Model
    device: str
    precision: str

    @property
    def tiling(self) -> Tiling:
        tile = self.model.card.tile
        return Tiling(size=tile.size, overlap=tile.overlap)


def _folder(folder: Path, *, overwrite: bool) -> Path:
    """Make the run's folder, and refuse one that holds a finished run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MODEL).exists() and not overwrite:
            raise OutputExistsError(f"{folder / MODEL}: already exists; pass --overwrite to train it anew")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for a run ({error.strerror})") from error
    return folder


def _prepare(config: Config) -> _Run:
    """Open the data, measure the training split, build the network."""
    first = Scene.open(next(iter(find_files(config.data, config.data_root).values()))[0])
    model = _new_model(config, str(first.dtype))
    for size in (config.model.tile_size, config.train.chip_size):
        model.check_tile_size(size)
    splits = open_splits(config.data, config.data_root, model.card)
    statistics = measure(splits["train"], model.card.channels)
    bands = len(config.data.bands)
    scene = splits["train"][0].image
    model.card = model.card.changed(
        value_range=statistics.value_range,
        scale=scene.scale or (1.0,) * bands,
        offset=scene.offset or (0.0,) * bands,
        mean=statistics.mean,
        std=statistics.std,
    )
    device = choose_device(config.train.device)
    precision = choose_precision(config.train.precision, device)
    _log.info("training on %s in %s, %d images", device, precision, len(splits["train"]))
    return _Run(
        config=config,
        splits=with_card(splits, model.card),
        statistics=statistics,
        model=model,
        device=device,
        precision=precision,
    )


def _new_model(config: Config, dtype: str) -> Model:
    wanted = config.model
    return Model.new(
        architecture=wanted.architecture,
        encoder=wanted.encoder,
        bands=config.data.bands,
        legend=config.data.legend,
        encoder_weights=wanted.encoder_weights,
        dtype=dtype,
        gsd_m=wanted.gsd_m,
        tile_size=wanted.tile_size,
        overlap=wanted.overlap,
        decoder_options=wanted.decoder_options,
        name=wanted.name,
        seed=config.train.seed,
    )


def _fit(run: _Run, folder: Path, *, progress: bool) -> None:
    """Run Lightning's loop; the best epoch is in the folder afterwards."""
    config = run.config.train
    train, val = run.splits["train"], run.splits["val"]
    sampler = RandomSampler(train, config.chip_size, config.chips_per_epoch, seed=config.seed)
    # Processes are spawned: a forked one would share GDAL's locks and torch's threads.
    context = "spawn" if config.workers else None
    chips = DataLoader(
        Chips(train),
        batch_size=config.batch_size,
        sampler=sampler,
        num_workers=config.workers,
        multiprocessing_context=context,
        persistent_workers=config.workers > 0,
    )
    images: DataLoader[int] = DataLoader(range(len(val)), batch_size=None)  # type: ignore[arg-type]
    task = SegmentationTask(
        run.model.network,
        _loss(run),
        config,
        train=train,
        val=val,
        tiling=run.tiling,
        device=run.device,
        precision=run.precision,
    )
    keeper = KeepBest(
        run.model, metrics=folder / METRICS, best=folder / BEST, weights=run.config.model.weights
    )
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(run.device, run.device),
        devices=1,
        max_epochs=config.epochs,
        precision=_LIGHTNING_PRECISION[run.precision],
        gradient_clip_val=config.clip_gradient,
        callbacks=[keeper, Progress()] if progress else [keeper],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    try:
        trainer.fit(task, chips, images)
    except SystemExit as error:
        # Lightning turns signals into exits of its own, which would hide which of them it was.
        if isinstance(error, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from error
        raise KeyboardInterrupt from error
    finally:
        run.model.network.to("cpu").eval()


def _loss(run: _Run) -> Loss:
    wanted = run.config.train.loss
    if isinstance(wanted.class_weights, Mapping):
        weights = tuple(wanted.class_weights[code] for code in run.model.card.channels)
    else:
        weights = run.statistics.class_weights(wanted.class_weights) if wanted.class_weights else ()
    return Loss(cross_entropy=wanted.cross_entropy, dice=wanted.dice, class_weights=weights)


def _finish(run: _Run, folder: Path) -> Path:
    """Score the best epoch as it is stored, and write it with its scores.

    Weights that went through fp16 once are left unchanged by it, so the scores are those of the final file.
    """
    best = Model.open(folder / BEST)
    metrics = {
        split: report(
            score(
                best.network,
                run.splits[split],
                run.tiling,
                device=run.device,
                precision=run.precision,
            ),
            best.card,
        )
        for split in ("val", "test")
        if run.splits[split]
    }
    best.network.to("cpu")
    best.card = best.card.changed(
        training={
            "data_fingerprint": run.statistics.fingerprint,
            "images": {split: [pair.name for pair in pairs] for split, pairs in run.splits.items()},
            "class_pixels": list(run.statistics.pixels),
            "config": run.config.model_dump(mode="json", exclude_none=True),
            "metrics": metrics,
            "date": datetime.now(UTC).date().isoformat(),
        }
    )
    best.save(folder / MODEL, weights=run.config.model.weights, overwrite=True)
    (folder / BEST).unlink()
    return folder / MODEL
