"""Faults that are known to be in public code: which of them does `modellint check` find?

python benchmarks/known.py FOLDER

FOLDER holds the repositories, each checked out at the commit below under the second part of its name. Those that are not
there are said to be missing. Exit code 1 if a fault of a repository that is there is not found as certain.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from foreign import findings

TENSOR_PARALLEL = "distributed/tensor_parallelism"
GAN = "implementations"


@dataclass(frozen=True, slots=True)
class Fault:
    rule: str
    repository: str
    commit: str
    file: str
    lines: tuple[int, ...]


FAULTS = (
    Fault("missing-zero-grad", "pytorch/examples", "77f55b9", f"{TENSOR_PARALLEL}/fsdp_tp_example.py", (172,)),
    Fault(
        "missing-zero-grad", "pytorch/examples", "77f55b9", f"{TENSOR_PARALLEL}/sequence_parallel_example.py", (107,)
    ),
    Fault("missing-zero-grad", "pytorch/examples", "77f55b9", f"{TENSOR_PARALLEL}/tensor_parallel_example.py", (121,)),
    Fault("clip-scaled-gradients", "pytorch/examples", "77f55b9", "distributed/minGPT-ddp/mingpt/trainer.py", (107,)),
    Fault("softmax-into-cross-entropy", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/acgan/acgan.py", (195,)),
    Fault("softmax-into-cross-entropy", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/infogan/infogan.py", (277,)),
    Fault("softmax-into-cross-entropy", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/pixelda/pixelda.py", (250,)),
    Fault("softmax-into-cross-entropy", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/sgan/sgan.py", (195,)),
    Fault("softmax-into-cross-entropy", "L0SG/relational-rnn-pytorch", "1b16ae3", "train_nth_farthest.py", (209,)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/acgan/acgan.py", (59, 63, 85)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/began/began.py", (58, 62, 86)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/bgan/bgan.py", (47,)),
    Fault(
        "batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/bicyclegan/models.py", (28, 42, 134)
    ),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/ccgan/models.py", (15, 31)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/cgan/cgan.py", (48,)),
    Fault(
        "batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/cogan/cogan.py", (62, 68, 75, 97)
    ),
    Fault(
        "batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/context_encoder/models.py", (13, 20)
    ),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/dcgan/dcgan.py", (56, 60, 80)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/dragan/dragan.py", (57, 61, 81)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/dualgan/models.py", (110,)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/ebgan/ebgan.py", (57, 61, 87)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/gan/gan.py", (45,)),
    Fault(
        "batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/infogan/infogan.py", (70, 74, 96)
    ),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/lsgan/lsgan.py", (55, 59, 79)),
    Fault(
        "batchnorm-eps-position",
        "eriklindernoren/PyTorch-GAN",
        "36d3c77",
        f"{GAN}/relativistic_gan/relativistic_gan.py",
        (48, 52, 72),
    ),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/sgan/sgan.py", (59, 63, 84)),
    Fault(
        "batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/softmax_gan/softmax_gan.py", (45,)
    ),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/srgan/models.py", (23, 26, 47)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/wgan/wgan.py", (46,)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/wgan_div/wgan_div.py", (49,)),
    Fault("batchnorm-eps-position", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/wgan_gp/wgan_gp.py", (49,)),
    Fault("backward-after-step", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/cluster_gan/clustergan.py", (474,)),
    Fault("backward-after-step", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/softmax_gan/softmax_gan.py", (158,)),
    Fault(
        "backward-after-step",
        "MorvanZhou/PyTorch-Tutorial",
        "dbe154a",
        "tutorial-contents/406_conditional_GAN.py",
        (81,),
    ),
    Fault("test-data-in-training", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/munit/datasets.py", (17,)),
    Fault("test-data-in-training", "eriklindernoren/PyTorch-GAN", "36d3c77", f"{GAN}/pix2pix/datasets.py", (17,)),
    Fault("sampler-set-epoch", "NVIDIA/tacotron2", "185cd24", "train.py", (49,)),
    Fault("sampler-set-epoch", "jindongwang/transferlearning", "f951df1", "code/ASR/Adapter/data_load.py", (316,)),
    Fault("sampler-set-epoch", "jindongwang/transferlearning", "f951df1", "code/ASR/CMatch/data_load.py", (257,)),
    Fault("clip-before-backward", "locuslab/TCN", "2f8c2b8", "TCN/copy_memory/copymem_test.py", (120,)),
    Fault("clip-before-backward", "locuslab/TCN", "2f8c2b8", "TCN/poly_music/music_test.py", (107,)),
    Fault("removed-api", "NVIDIA/tacotron2", "185cd24", "loss_scaler.py", (110, 111)),  # .data[0]
    Fault("removed-api", "hunkim/PyTorchZeroToAll", "e5a260f", "11_1_toy_inception_mnist.py", (107, 115, 118)),
    Fault("removed-api", "hunkim/PyTorchZeroToAll", "e5a260f", "10_1_cnn_mnist.py", (77,)),  # volatile=True
)


def certain(folder: Path) -> set[tuple[str, str, int]]:
    """Rule, file and line of each finding."""
    found = (d for d in findings(folder) if d["verdict"] == "certain")
    return {(d["rule"], d["location"]["path"], d["location"]["line"]) for d in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    lost, counts = False, defaultdict(lambda: [0, 0])
    for repository in dict.fromkeys(fault.repository for fault in FAULTS):
        place = folder / repository.partition("/")[2]
        found = certain(place) if place.is_dir() else set()
        for fault in (f for f in FAULTS if f.repository == repository):
            if not place.is_dir():
                print(f"missing    {fault.repository} {fault.commit}")
                break
            for line in fault.lines:
                seen = (fault.rule, fault.file, line) in found
                lost |= not seen
                counts[fault.rule][0] += seen
                counts[fault.rule][1] += 1
                print(f"{'found' if seen else 'NOT FOUND':10} {fault.rule}  {repository} {fault.file}:{line}")
    for rule, (seen, of) in counts.items():
        print(f"{rule}: {seen} of {of}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
