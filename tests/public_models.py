"""Public model definitions, unchanged, from packages of PyPI: one training step of each, measured.

A program for PyTorch: `python tests/public_models.py NAME FOLDER [float64]` runs it with PyTorch,
which also saves the initial weights; `lucid run` runs the same on Lucid, from those weights.
tools/public_models.py compares the two, test_public_models.py runs some.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

rng = np.random.default_rng(0)


class Case(NamedTuple):
    """A model, what it is called with, and the scalar made of what it returns."""

    model: Any
    inputs: Any  # a tuple of arrays, or a dict of them for named arguments
    loss: Callable[[Any], Any]


MODELS: dict[str, tuple[str, Callable[[], Case]]] = {}  # name -> (package, what makes the case)


def model(package: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Add a case to MODELS under its function's name."""

    def add(make: Callable[[], Case]) -> Callable[[], Case]:
        MODELS[make.__name__] = (package, make)
        return make

    return add


def normal(*shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def tokens(*shape: int, below: int = 100) -> Any:
    return rng.integers(0, below, shape)


def classify(net: Any, size: int = 64, batch: int = 4, classes: int = 10) -> Case:
    """Images in `classes` classes, by cross-entropy; auxiliary heads count three tenths."""
    labels = torch.as_tensor(tokens(batch, below=classes))

    def loss(output: Any) -> Any:
        heads = [output] if isinstance(output, torch.Tensor) else list(output)
        total = F.cross_entropy(heads[0], labels)
        for head in heads[1:]:
            total = total + 0.3 * F.cross_entropy(head, labels)
        return total

    return Case(net, (normal(batch, 3, size, size),), loss)


def next_token(net: Any, length: int = 32, batch: int = 2, vocabulary: int = 100) -> Case:
    """Sequences of tokens, each to predict the next one."""
    ids = tokens(batch, length + 1, below=vocabulary)
    target = torch.as_tensor(ids[:, 1:])

    def loss(output: Any) -> Any:
        logits = output if isinstance(output, torch.Tensor) else output[0]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))

    return Case(net, (ids[:, :-1],), loss)


def weighted(net: Any, *inputs: Any) -> Case:
    """Whatever the model returns, by its mean product with fixed numbers."""

    def loss(output: Any) -> Any:
        leaves = [x for x in tensors_of(output) if x.is_floating_point()]
        local = np.random.default_rng(1)
        return sum(
            (x * torch.as_tensor(local.standard_normal(x.shape).astype(np.float32))).mean()
            for x in leaves
        )

    return Case(net, inputs, loss)


def tensors_of(nest: Any) -> list[Any]:
    """The tensors of a nest of tuples, lists and dicts, in order."""
    if isinstance(nest, torch.Tensor):
        return [nest]
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, list | tuple):
        return [x for item in nest for x in tensors_of(item)]
    return []


# torchvision


def vision(name: str, size: int = 64, batch: int = 4, **options: Any) -> None:
    """A classifier of torchvision.models by its name."""

    def make() -> Case:
        import torchvision.models

        return classify(getattr(torchvision.models, name)(num_classes=10, **options), size, batch)

    MODELS[f"torchvision.{name}"] = ("torchvision", make)


vision("alexnet", 96, dropout=0.0)
vision("vgg11_bn", 64, 2, dropout=0.0)
vision("resnet18")
vision("resnet50")
vision("resnext50_32x4d")
vision("wide_resnet50_2", batch=2)
vision("densenet121")
vision("squeezenet1_1", 96, dropout=0.0)
vision("mobilenet_v2", dropout=0.0)
vision("mobilenet_v3_small", dropout=0.0)
vision("mnasnet1_0", dropout=0.0)
vision("shufflenet_v2_x1_0")
vision("googlenet", 64, init_weights=True, dropout=0.0, dropout_aux=0.0)
vision("inception_v3", 96, init_weights=True, dropout=0.0)
vision("efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0)
vision("regnet_y_400mf")
vision("convnext_tiny", stochastic_depth_prob=0.0)
vision("vit_b_32", 64, 2, image_size=64)
vision("swin_t", stochastic_depth_prob=0.0)
vision("swin_v2_t", stochastic_depth_prob=0.0)
vision("maxvit_t", 224, 1, stochastic_depth_prob=0.0)

# timm


def timm_model(name: str, size: int = 64, batch: int = 4, **options: Any) -> None:
    """A classifier of timm by its name."""

    def make() -> Case:
        import timm

        return classify(timm.create_model(name, num_classes=10, **options), size, batch)

    MODELS[f"timm.{name}"] = ("timm", make)


timm_model("mixer_s32_224", img_size=64)
timm_model("deit_tiny_patch16_224", img_size=64)
timm_model("beit_base_patch16_224", 64, 2, img_size=64)
timm_model("cait_xxs24_224", img_size=64)
timm_model("coat_tiny", img_size=64)
timm_model("poolformer_s12")
timm_model("xcit_nano_12_p16_224", img_size=64)
timm_model("mobilevit_xxs")
timm_model("ghostnet_100", drop_rate=0.0)
timm_model("levit_128s", 224, 2)
timm_model("edgenext_xx_small", 96)
timm_model("nf_resnet50", 64)
timm_model("resnest14d")
timm_model("convmixer_768_32", 64, 2)
timm_model("twins_svt_small", 64)
timm_model("pvt_v2_b0", 64)
timm_model("efficientformer_l1", 224, 2)
timm_model("tf_efficientnetv2_b0", 64)

# transformers

SMALL = dict(
    vocab_size=100, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
    intermediate_size=128,
)  # fmt: skip
STILL = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def hugging(name: str, model_class: str, make: Callable[[Any], Any], case: str = "next") -> None:
    """A model of transformers with a configuration of its own."""

    def build() -> Case:
        import transformers

        net = getattr(transformers, model_class)(make(transformers))
        net.train()
        if case == "next":
            return next_token(net)
        if case == "image":
            return weighted(net, normal(2, 3, 64, 64))
        if case == "images and text":
            ids = tokens(2, 12)
            inputs = dict(input_ids=ids, pixel_values=normal(2, 3, 64, 64), return_loss=True)
            return Case(net, inputs, lambda output: output.loss)
        if case == "two texts":
            ids, labels = tokens(2, 12), tokens(2, 9)
            return Case(net, dict(input_ids=ids, labels=labels), lambda output: output.loss)
        if case == "speech":
            inputs = dict(input_features=normal(2, 80, 200), labels=tokens(2, 9))
            return Case(net, inputs, lambda output: output.loss)
        if case == "sound":
            return weighted(net, normal(2, 4000))
        raise ValueError(case)

    MODELS[f"transformers.{name}"] = ("transformers", build)


hugging("bert", "BertForMaskedLM", lambda t: t.BertConfig(**SMALL, **STILL))
hugging("roberta", "RobertaForMaskedLM", lambda t: t.RobertaConfig(**SMALL, **STILL))
hugging("electra", "ElectraForMaskedLM", lambda t: t.ElectraConfig(**SMALL, **STILL))
hugging(
    "albert", "AlbertForMaskedLM", lambda t: t.AlbertConfig(**SMALL, **STILL, embedding_size=32)
)
hugging("deberta_v2", "DebertaV2ForMaskedLM", lambda t: t.DebertaV2Config(
    **SMALL, **STILL, relative_attention=True, pos_att_type=["p2c", "c2p"]))  # fmt: skip
hugging("distilbert", "DistilBertForMaskedLM", lambda t: t.DistilBertConfig(
    vocab_size=100, dim=64, n_layers=3, n_heads=4, hidden_dim=128, dropout=0.0,
    attention_dropout=0.0))  # fmt: skip
hugging("gpt2", "GPT2LMHeadModel", lambda t: t.GPT2Config(
    vocab_size=100, n_embd=64, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
    attn_pdrop=0.0))  # fmt: skip
hugging("gpt_neox", "GPTNeoXForCausalLM", lambda t: t.GPTNeoXConfig(**SMALL))
hugging("llama", "LlamaForCausalLM", lambda t: t.LlamaConfig(**SMALL, num_key_value_heads=2))
hugging("mistral", "MistralForCausalLM", lambda t: t.MistralConfig(
    **SMALL, num_key_value_heads=2, sliding_window=8))  # fmt: skip
hugging("qwen2", "Qwen2ForCausalLM", lambda t: t.Qwen2Config(**SMALL, num_key_value_heads=2))
hugging("gemma", "GemmaForCausalLM", lambda t: t.GemmaConfig(
    **SMALL, num_key_value_heads=2, head_dim=16))  # fmt: skip
hugging("mixtral", "MixtralForCausalLM", lambda t: t.MixtralConfig(
    **SMALL, num_key_value_heads=2, num_local_experts=4))  # fmt: skip
hugging("opt", "OPTForCausalLM", lambda t: t.OPTConfig(
    vocab_size=100, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, ffn_dim=128,
    word_embed_proj_dim=64, dropout=0.0))  # fmt: skip
hugging("bloom", "BloomForCausalLM", lambda t: t.BloomConfig(
    vocab_size=100, hidden_size=64, n_layer=3, n_head=4))  # fmt: skip
hugging("mamba", "MambaForCausalLM", lambda t: t.MambaConfig(
    vocab_size=100, hidden_size=64, num_hidden_layers=3))  # fmt: skip
hugging("rwkv", "RwkvForCausalLM", lambda t: t.RwkvConfig(
    vocab_size=100, hidden_size=64, num_hidden_layers=3))  # fmt: skip
hugging("t5", "T5ForConditionalGeneration", lambda t: t.T5Config(
    vocab_size=100, d_model=64, d_kv=16, d_ff=128, num_layers=3, num_heads=4, dropout_rate=0.0,
    decoder_start_token_id=0), "two texts")  # fmt: skip
hugging("bart", "BartForConditionalGeneration", lambda t: t.BartConfig(
    vocab_size=100, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, dropout=0.0),
    "two texts")  # fmt: skip
hugging("whisper", "WhisperForConditionalGeneration", lambda t: t.WhisperConfig(
    vocab_size=100, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, dropout=0.0,
    max_source_positions=100, decoder_start_token_id=1, pad_token_id=0, bos_token_id=1,
    eos_token_id=2), "speech")  # fmt: skip
hugging("wav2vec2", "Wav2Vec2Model", lambda t: t.Wav2Vec2Config(
    **SMALL, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, layerdrop=0.0,
    feat_proj_dropout=0.0, conv_dim=[32] * 7, num_conv_pos_embeddings=16, mask_time_prob=0.0,
    ), "sound")  # fmt: skip
hugging("vit", "ViTModel", lambda t: t.ViTConfig(
    **{k: v for k, v in SMALL.items() if k != "vocab_size"}, **STILL, image_size=64,
    patch_size=16), "image")  # fmt: skip
hugging("dinov2", "Dinov2Model", lambda t: t.Dinov2Config(
    hidden_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=16,
    drop_path_rate=0.0), "image")  # fmt: skip
hugging("segformer", "SegformerModel", lambda t: t.SegformerConfig(
    **STILL, drop_path_rate=0.0, classifier_dropout_prob=0.0), "image")  # fmt: skip
hugging("clip", "CLIPModel", lambda t: t.CLIPConfig(
    text_config=dict(**SMALL, eos_token_id=2, bos_token_id=1),
    vision_config=dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                       intermediate_size=128, image_size=64, patch_size=16),
    projection_dim=32), "images and text")  # fmt: skip

# packages with one model or a few each


@model("vit-pytorch")
def simple_vit() -> Case:
    from vit_pytorch import SimpleViT

    net = SimpleViT(
        image_size=64, patch_size=16, num_classes=10, dim=64, depth=3, heads=4, mlp_dim=128
    )
    return classify(net)


@model("vit-pytorch")
def crossformer() -> Case:
    from vit_pytorch.crossformer import CrossFormer

    net = CrossFormer(num_classes=10, dim=(32, 64, 128, 256), depth=(1, 1, 2, 1),
                      global_window_size=(8, 4, 2, 1), local_window_size=2)  # fmt: skip
    return classify(net)


@model("vit-pytorch")
def nest() -> Case:
    from vit_pytorch.nest import NesT

    net = NesT(image_size=64, patch_size=4, dim=32, heads=2, num_hierarchies=3,
               block_repeats=(1, 1, 2), num_classes=10)  # fmt: skip
    return classify(net)


@model("x-transformers")
def x_transformers_decoder() -> Case:
    from x_transformers import Decoder, TransformerWrapper

    layers = Decoder(dim=64, depth=3, heads=4, rotary_pos_emb=True, ff_glu=True)
    return next_token(TransformerWrapper(num_tokens=100, max_seq_len=64, attn_layers=layers))


@model("pytorchcv")
def seresnet18() -> Case:
    from pytorchcv.model_provider import get_model

    return classify(get_model("seresnet18", num_classes=10), 224, 2)


@model("pytorchcv")
def darknet53() -> Case:
    from pytorchcv.model_provider import get_model

    return classify(get_model("darknet53", num_classes=10), 224, 1)


@model("pytorchcv")
def xception() -> Case:
    from pytorchcv.model_provider import get_model

    return classify(get_model("xception", num_classes=10, in_size=(299, 299)), 299, 1)


@model("efficientnet-pytorch")
def efficientnet_pytorch_b0() -> Case:
    from efficientnet_pytorch import EfficientNet

    options = dict(num_classes=10, dropout_rate=0.0, drop_connect_rate=0.0, image_size=64)
    return classify(EfficientNet.from_name("efficientnet-b0", **options))


@model("segmentation-models-pytorch")
def unet_resnet18() -> Case:
    import segmentation_models_pytorch

    net = segmentation_models_pytorch.Unet("resnet18", encoder_weights=None, classes=3)
    return weighted(net, normal(2, 3, 64, 64))


@model("segmentation-models-pytorch")
def deeplabv3plus_resnet18() -> Case:
    import segmentation_models_pytorch as smp

    net = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=3)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return weighted(net, normal(2, 3, 64, 64))


@model("mlp-mixer-pytorch")
def mlp_mixer() -> Case:
    from mlp_mixer_pytorch import MLPMixer

    return classify(
        MLPMixer(image_size=64, channels=3, patch_size=16, dim=64, depth=3, num_classes=10)
    )


@model("g-mlp-pytorch")
def g_mlp() -> Case:
    from g_mlp_pytorch import gMLP

    return next_token(gMLP(num_tokens=100, dim=64, depth=3, seq_len=32, causal=True))


@model("linformer")
def linformer() -> Case:
    from linformer import LinformerLM

    return next_token(
        LinformerLM(num_tokens=100, dim=64, seq_len=32, depth=2, heads=4, k=16, reversible=True)
    )


@model("nystrom-attention")
def nystromformer() -> Case:
    from nystrom_attention import Nystromformer

    net = Nystromformer(dim=64, dim_head=16, heads=4, depth=2, num_landmarks=8, pinv_iterations=6)
    return weighted(net, normal(2, 32, 64))


@model("axial-attention")
def axial_image_transformer() -> Case:
    from axial_attention import AxialImageTransformer

    net = AxialImageTransformer(dim=32, depth=2, heads=4, reversible=False)
    return weighted(net, normal(2, 32, 12, 12))


@model("perceiver-pytorch")
def perceiver() -> Case:
    from perceiver_pytorch import Perceiver

    net = Perceiver(input_channels=3, input_axis=2, num_freq_bands=4, max_freq=10.0, depth=2,
                    num_latents=16, latent_dim=64, latent_heads=4, latent_dim_head=16,
                    num_classes=10, weight_tie_layers=True)  # fmt: skip
    return weighted(net, normal(2, 24, 24, 3))


@model("conformer")
def conformer() -> Case:
    from conformer import Conformer

    net = Conformer(dim=64, depth=2, dim_head=16, heads=4)
    return weighted(net, normal(2, 40, 64))


@model("siren-pytorch")
def siren() -> Case:
    from siren_pytorch import SirenNet

    return weighted(SirenNet(dim_in=2, dim_hidden=64, dim_out=3, num_layers=4), normal(200, 2))


@model("egnn-pytorch")
def egnn() -> Case:
    from egnn_pytorch import EGNN_Network

    net = EGNN_Network(num_tokens=21, num_positions=64, dim=32, depth=2, num_nearest_neighbors=6)
    return weighted(net, tokens(1, 48, below=21), normal(1, 48, 3))


@model("pytorch-tabnet")
def tabnet() -> Case:
    from pytorch_tabnet.tab_network import TabNet

    groups = torch.eye(20)
    net = TabNet(input_dim=20, output_dim=4, virtual_batch_size=32, group_attention_matrix=groups)
    return weighted(net, normal(64, 20))


def ode(method: str) -> Case:
    from torchdiffeq import odeint

    class Field(torch.nn.Module):
        """dy/dt by a network; what the package has is the solver."""

        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)
            )

        def forward(self, t: Any, y: Any) -> Any:
            return self.net(y**3)

    class Solved(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = Field()

        def forward(self, y: Any) -> Any:
            return odeint(self.field, y, torch.linspace(0.0, 1.0, 5), method=method)

    return weighted(Solved(), normal(8, 2))


@model("torchdiffeq")
def neural_ode_rk4() -> Case:
    return ode("rk4")


@model("torchdiffeq")
def neural_ode_dopri5() -> Case:
    return ode("dopri5")


@model("local-attention")
def local_transformer() -> Case:
    from local_attention import LocalTransformer

    net = LocalTransformer(num_tokens=100, dim=64, depth=2, max_seq_len=32, causal=True,
                           local_attn_window_size=8, heads=4, dim_head=16)  # fmt: skip
    return next_token(net)


@model("reformer-pytorch")
def reformer_full_attention() -> Case:
    from reformer_pytorch import ReformerLM

    net = ReformerLM(num_tokens=100, dim=64, depth=2, max_seq_len=32, heads=4, bucket_size=8,
                     causal=True, use_full_attn=True)  # fmt: skip
    return next_token(net)


@model("linear-attention-transformer")
def linear_attention() -> Case:
    from linear_attention_transformer import LinearAttentionTransformerLM

    net = LinearAttentionTransformerLM(num_tokens=100, dim=64, heads=4, depth=2, max_seq_len=32,
                                       causal=True)  # fmt: skip
    return next_token(net)


@model("lambda-networks")
def lambda_layer() -> Case:
    from lambda_networks import LambdaLayer

    net = LambdaLayer(dim=32, dim_out=32, r=7, dim_k=16, heads=4, dim_u=2)
    return weighted(net, normal(2, 32, 12, 12))


def measure(name: str, folder: Path, kind: str = "float32") -> None:
    """One step of forward and backward; the weights are read from the folder, or put there."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    started = time.perf_counter()
    case = MODELS[name][1]()
    saved = folder / "weights.pt"
    if saved.exists():
        case.model.load_state_dict(torch.load(saved))
    else:
        torch.save(case.model.state_dict(), saved)
    case.model.train().to(getattr(torch, kind))
    built = time.perf_counter() - started
    torch.manual_seed(1)
    started = time.perf_counter()
    output, loss = run_once(case, kind)
    loss.backward()
    seconds = time.perf_counter() - started
    found = {"loss": loss.detach().numpy(), "seconds": np.array([built, seconds])}
    for i, x in enumerate(tensors_of(output)):
        found[f"output {i}"] = x.detach().numpy()
    for key, parameter in case.model.named_parameters():
        if parameter.grad is not None:
            found[f"gradient {key}"] = parameter.grad.detach().numpy()
    for key, buffer in case.model.named_buffers():
        found[f"buffer {key}"] = buffer.detach().numpy()
    np.savez(folder / "found.npz", **found)
    print(f"{name}: loss {float(loss.detach()):.6f}, {seconds:.2f} s")


def run_once(case: Case, kind: str) -> tuple[Any, Any]:
    """What the model returns, and the loss."""
    if isinstance(case.inputs, dict):
        output = case.model(**{k: _tensor(v, kind) for k, v in case.inputs.items()})
    else:
        output = case.model(*[_tensor(x, kind) for x in case.inputs])
    return output, case.loss(output)


def _tensor(x: Any, kind: str) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    return torch.as_tensor(x.astype(kind) if x.dtype.kind == "f" else x)


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
