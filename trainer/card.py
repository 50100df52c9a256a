"""The model card: an artifact's README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filterd.artifact import Artifact, Manifest
from trainer.course import Trained
from trainer.evaluation import Measures

SMS_LIMITS = """\
- The measures above are of SMS of about 2004 to 2012, in English, mostly from the United Kingdom
  and Singapore. On messages of today, other languages, e-mail, and wanted messages by machines
  (banks' codes, delivery notices, reminders) expect more errors: measure on your own with
  `trainer evaluate`.
- Somebody who means to get past it will. It reads text alone: no sender, no links behind words.
"""
CREDITS = {
    "trainer/corpus": "written for filterd, Apache-2.0",
    "trainer/corpus/contrasts": "written for filterd, Apache-2.0",
    "mendeley_sms.tsv": "SMS Phishing Dataset, Mendeley Data f45bkkt8pr, CC BY 4.0",
    "india_sms.tsv": "github.com/junioralive/india-spam-sms-classification, MIT",
    "chats.tsv": "NUS SMS Corpus, Chen & Kan 2013, free to use, and BYU's Chit-Chat, MIT, all ham",
    "quotes.tsv": "Debian's package fortunes, all ham",
    "mails.tsv": "SpamAssassin's public corpus of 2002-2003, CC0 by npm's @stdlib, cut short",
    "tweets.tsv": "VADER's test data, Hutto & Gilbert 2014, MIT, all ham",
    "prose.tsv": "reviews and editorials of VADER's test data, Hutto & Gilbert 2014, MIT, all ham",
}
"""By file name, of the sources that the starter learned from."""
OWN_LIMITS = """\
- It knows the kind of messages it was trained on. Measure it on others before relying on it.
- Somebody who means to get past it will. It reads text alone: no sender, no links behind words.
"""


def notice(manifest: Manifest) -> str:
    """Whose weights an artifact descends from, for its NOTICE; empty where it has none."""
    origin = manifest.origin
    if not origin:
        return ""
    return (
        f"{manifest.version}: {manifest.backbone}\n\n"
        "Its weights descend, changed by training, from:\n"
        + "".join(f"  {name}: {value}\n" for name, value in origin.items())
    )


def model_card(
    artifact: Artifact,
    trained: Trained,
    data: Mapping[str, Any],
    measures: Mapping[str, Measures],
) -> str:
    """The card of a calibrated artifact; ``measures`` by split, ``validation`` and ``test``."""
    manifest = artifact.manifest
    source = data.get("source", {})
    known = "attribution" in source
    return "\n".join(
        [
            f"# {manifest.version}\n",
            "Labels short messages as spam or ham; filterd serves it.\n",
            "## Data\n",
            *_data(source, data),
            "\n## How good\n",
            *_table(measures),
            f"\n{_choices(manifest.recipe, data)}\n",
            "`report/` holds the plots and `evaluation.json`.\n",
            "## Limits\n",
            SMS_LIMITS if known else OWN_LIMITS,
            "## How it was made\n",
            *_making(artifact, trained),
            "",
        ]
    )


def _data(source: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    lines = [f"- {source.get('name', 'the user’s own CSVs')}"]
    if "attribution" in source:
        lines += [
            f"- by {source['attribution']}, licence {source['licence']}",
            f"- {source['origin']}",
            "- changes made to it: duplicates dropped, split into train, validation and test",
        ]
    if "method" in data:
        lines.append(f"- split: {data['method']}")
    rows = ", ".join(f"{name} {part['rows']}" for name, part in data["splits"].items())
    lines.append(f"- messages: {rows}")
    for name, count in data.get("added", {}).items():
        lines.append(f"- learned from too: {count:,} messages of {name}{_credit(name)}")
    for name, count in data.get("texts", {}).items():
        lines.append(f"- {count:,} texts of {name}, by the teacher's score alone{_credit(name)}")
    if hinting := data.get("hints"):
        lines.append(f"- hints by {hinting['name']} ({hinting['obtained']}, {hinting['licence']})")
    if "teacher" in data:
        lines.append(f"- its teacher: {data['teacher']}")
    return lines


def _credit(name: str) -> str:
    """Whose messages a file of a known name holds."""
    credit = CREDITS.get(name)
    return f" ({credit})" if credit else ""


def _table(measures: Mapping[str, Measures]) -> list[str]:
    lines = [
        "| split | messages | accuracy | F1 | precision | recall | MCC | AUC | spam found "
        "| spam missed | ham kept | ham blocked |",
        "| --- " * 12 + "|",
    ]
    for name, m in measures.items():
        lines.append(
            f"| {name} | {m.rows} | {m.accuracy:.4f} | {m.f1:.4f} | {m.precision:.4f} "
            f"| {m.recall:.4f} | {m.mcc:.4f} | {m.auc:.4f} | {m.spam_found} | {m.spam_missed} "
            f"| {m.ham_kept} | {m.ham_blocked} |"
        )
    return lines


def _choices(recipe: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Which messages chose the epoch, the temperature and the threshold."""
    epoch = "The last epoch was kept" if recipe["keep"] == "last" else "Validation chose the epoch"
    folds = "the folds, runs that had not seen what they were asked"
    judges = [folds if recipe["folds"] else "validation"]
    if data.get("unseen"):
        judges.append(f"{data['unseen']:,} messages that nothing learned from")
    fitted = [name for name in ("temperature", "threshold") if recipe[name] is None]
    if not fitted:
        return f"{epoch}; the recipe gave temperature and threshold. Test took part in no choice."
    set_by = f"{' and '.join(judges)} set the {' and '.join(fitted)}"
    return f"{epoch}; {set_by}. Test took part in no choice."


def _making(artifact: Artifact, trained: Trained) -> list[str]:
    manifest = artifact.manifest
    parameters = sum(tensor.numel() for tensor in artifact.weights.values())
    learned = sum(
        tensor.numel()
        for name, tensor in artifact.weights.items()
        if name in trained.weights or f"{name.removesuffix('.weight')}.shift" in trained.weights
    )
    origin = manifest.origin
    licence = f"; licence {origin['licence']}, see `NOTICE`" if origin else ""
    command = "distill" if "teacher" in manifest.data else "train"
    return [
        f"- {manifest.backbone}{licence}",
        f"- {parameters:,} parameters, {learned:,} of them trained here",
        f"- a byte-pair vocabulary of {manifest.model.vocab_size:,} tokens",
        f"- text is normalised as `{manifest.normalization}` before it is read",
        f"- reads {manifest.max_length} tokens; longer texts in overlapping windows",
        f"- `trainer {command} --recipe {manifest.recipe['name']}`, "
        f"seed {manifest.recipe['seed']}, "
        f"epoch {trained.best} of {len(trained.history)} kept; the recipe is in `manifest.json`",
        f"- temperature {manifest.temperature:.4f}, threshold {manifest.threshold}",
    ]
