"""Trains nano. `make train` runs this; the weights in the repository came out of it.

Hidden matrices are trained with Muon (Jordan et al. 2024, in torch.optim), everything else with AdamW.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from image2music.composers.nano.model import NanoComposerModel, NanoConfig, count_parameters
from image2music.composers.nano.patches import PoleVectors
from image2music.composers.nano.training.dataset import (
    PREFIX,
    Batch,
    Dropout,
    NanoDataset,
    SyntheticConditioning,
    TrainingNgrams,
    read_training_tunes,
)
from image2music.embedders.base import Embedder
from image2music.images.features import class_names


@dataclass(frozen=True)
class TrainingConfig:
    """`epochs` passes over the tunes; learning rates fall linearly to zero over the last `decay_share` of them."""

    epochs: int = 7
    batch_tokens: int = 6144
    muon_rate: float = 0.012
    adam_rate: float = 0.002
    warmup_steps: int = 60
    decay_share: float = 0.6
    weight_decay: float = 0.1
    control_loss_weight: float = 0.25
    seed: int = 0


def make_dataset(config: NanoConfig, embedder: Embedder, seed: int) -> NanoDataset:
    """Read the corpus and synthesise its pictures."""
    tunes = read_training_tunes()
    conditioning = SyntheticConditioning(PoleVectors.embed(embedder), embedder.embed_texts(class_names()), config.grid)
    return NanoDataset(
        tunes,
        embedder.embed_texts([tune.title for tune in tunes]),
        conditioning,
        reference_slots=config.reference_slots,
        reference_tokens=config.reference_tokens,
        seed=seed,
    )


def tune_loss(model: NanoComposerModel, batch: Batch) -> tuple[float, int]:
    """Return the summed nats of the tune's tokens (controls left out), and how many tokens there are."""
    with torch.inference_mode():
        logits = model(batch.tokens, patches=batch.patches, references=batch.references).logits.float()
    targets = batch.targets[:, PREFIX - 1 :]
    nats = functional.cross_entropy(
        logits[:, PREFIX - 1 :].flatten(0, 1), targets.flatten(), ignore_index=0, reduction="sum"
    )
    return float(nats), int((targets > 0).sum())


def validate(model: NanoComposerModel, data: NanoDataset, seed: int) -> float:
    """Return the mean nats a token of the held-out tunes, every condition given."""
    model.eval()
    total, count = 0.0, 0
    for indices in data.batches(data.validation(), 6144, np.random.default_rng(seed)):
        with torch.autocast("cpu", torch.bfloat16):
            nats, tokens = tune_loss(model, data.collate_fully_conditioned(indices, seed))
        total, count = total + nats, count + tokens
    model.train()
    return total / count


def make_optimizers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices, AdamW for embeddings, norms and the rest."""
    hidden = [p for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2]
    chosen = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(hidden, lr=config.muon_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=config.adam_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True),
    ]


def learning_rate_share(step: int, steps: int, config: TrainingConfig) -> float:
    """Return the share of the full rate: warm-up, plateau, linear decay to zero."""
    decay_steps = max(1, int(config.decay_share * steps))
    return min(1.0, (step + 1) / config.warmup_steps, (steps - step) / decay_steps)


def training_loss(model: NanoComposerModel, batch: Batch, config: TrainingConfig) -> torch.Tensor:
    """Return nats a token, control tokens weighted down."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.tokens, patches=batch.patches, references=batch.references).logits
    nats = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=0, reduction="none"
    ).view_as(batch.targets)
    controls, tune = nats[:, : PREFIX - 1], nats[:, PREFIX - 1 :]
    tokens = (batch.targets[:, PREFIX - 1 :] > 0).sum()
    return (tune.sum() + config.control_loss_weight * controls.sum()) / tokens


def endless(data: NanoDataset, config: TrainingConfig, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield batches of tune indices, epoch after epoch."""
    while True:
        yield from data.batches(data.training(), config.batch_tokens, rng)


def train(model: NanoComposerModel, data: NanoDataset, config: TrainingConfig, output: Path) -> list[dict[str, float]]:
    """Train in place and return the log: one entry an epoch."""
    rng = np.random.default_rng(config.seed)
    per_epoch = len(list(data.batches(data.training(), config.batch_tokens, np.random.default_rng(0))))
    steps = per_epoch * config.epochs
    optimizers = make_optimizers(model, config)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    log: list[dict[str, float]] = []
    started, running, seen = time.time(), [], 0
    model.train()
    for step, indices in zip(range(steps), endless(data, config, rng), strict=False):
        batch = data.collate(indices, rng, Dropout())
        loss = training_loss(model, batch, config)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = learning_rate_share(step, steps, config)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        running.append(float(loss.detach()))
        seen += batch.tokens.numel()
        if (step + 1) % 20 == 0:
            pace = seen / (time.time() - started)
            print(f"step {step + 1}/{steps} loss {np.mean(running[-20:]):.3f} {pace:.0f} tokens/s", flush=True)
        if (step + 1) % per_epoch == 0:
            nats = validate(model, data, config.seed)
            entry = {"step": step + 1, "minutes": (time.time() - started) / 60, "validation_nats_a_token": nats}
            log.append(entry | {"training_loss": float(np.mean(running[-per_epoch:]))})
            print(json.dumps(log[-1]), flush=True)
            save(model, output)
    return log


def save(model: NanoComposerModel, output: Path) -> None:
    """Save half-precision weights, about 12 MB; norms and all are read back as float32."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(output)


def write_credits(data: NanoDataset, output: Path) -> None:
    """List who typed the tunes in, as their Z.

    Fields say (without mail addresses), with the number of tunes of each.
    """
    counts = Counter(_without_addresses(tune.transcriber) or "(no name given)" for tune in data.tunes)
    lines = [f"- {name}: {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    head = f"# Transcribers of the {len(data.tunes)} tunes that nano was trained and validated on\n\n"
    (output / "TRANSCRIBERS.md").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def _without_addresses(text: str) -> str:
    """Cut mail addresses to the part before the @, and leave disguised ones (`a:b.c`) out."""
    words = [word.split("@")[0].strip("<(") for word in text.split() if not re.search(r"\w:\w[\w.-]*\.\w", word)]
    return " ".join(words).strip(' ,"*')


def main(arguments: list[str] | None = None) -> None:
    """Run training from the command line."""
    parser = argparse.ArgumentParser(description="Train nano on O'Neill, Aird and Ryan.")
    parser.add_argument("--output", type=Path, default=Path("build/train/nano"))
    parser.add_argument("--epochs", type=int, default=TrainingConfig.epochs)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    from image2music.embedders.conse import load_conse

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    config = TrainingConfig(epochs=options.epochs, seed=options.seed)
    model = NanoComposerModel(NanoConfig())
    data = make_dataset(model.config, load_conse(), config.seed)
    print(f"{count_parameters(model):,} parameters, {len(data.training())} tunes, {len(data.validation())} held out")
    options.output.mkdir(parents=True, exist_ok=True)
    TrainingNgrams.of([tune.melody for tune in data.tunes]).save(options.output)
    write_credits(data, options.output)
    log = train(model, data, config, options.output)
    (options.output / "training.json").write_text(json.dumps({"config": asdict(config), "log": log}, indent=1))


if __name__ == "__main__":
    main()
