"""Writes small files in the exact schema of LeoLM's six datasets into mix/.

All sentences are written for this repository. Run: python make_fixtures.py
(needs datasets and pyarrow, which write Parquet as the Hugging Face hub
holds it). The files are committed; tests do not need Python.
"""
import json, pathlib
from datasets import Dataset

out = pathlib.Path(__file__).parent / "mix"

towns = ["Bremen", "Görlitz", "Würzburg", "Stralsund", "Köln", "Füssen", "Jena", "Lübeck"]
tools = ["Hobel", "Säge", "Töpferscheibe", "Lötkolben", "Nähmaschine", "Schraubstock"]
animals = ["Igel", "Fuchs", "Zaunkönig", "Dachs", "Eisvogel", "Mäusebussard", "Feldhase"]
seasons = ["Frühling", "Sommer", "Herbst", "Winter"]

# 1. OpenAssistant/OASST-DE: conversation list of {role, text}; some of odd
# length, which LeoLM dropped.
oasst = []
for i, t in enumerate(towns * 3):
    conv = [
        {"role": "prompter", "text": f"Was sollte ich mir in {t} ansehen?"},
        {"role": "assistant", "text": f"In {t} lohnt sich zuerst ein Gang durch die Altstadt. " + "Danach empfehle ich das Museum am Markt. " * (i % 4)},
    ]
    if i % 3 == 1:
        conv += [{"role": "prompter", "text": "Und wenn es regnet?"},
                 {"role": "assistant", "text": "Dann nimm den Schirm und setz dich in ein Café – am besten mit Blick auf den Fluss 🌧️."}]
    if i % 7 == 5:
        conv.append({"role": "prompter", "text": "Danke schön!"})
    oasst.append({"conversation": conv})
Dataset.from_list(oasst).to_parquet(out / "oasst_de.parquet")

# 2. FreedomIntelligence/evol-instruct-deutsch: one JSON array.
evol = []
for i, w in enumerate(tools * 5):
    evol.append({"id": f"evol_{i}", "conversations": [
        {"from": "human", "value": f"Erkläre Schritt für Schritt, wie man mit einem Werkzeug wie \"{w}\" sicher arbeitet, und nenne {i % 5 + 2} typische Fehler."},
        {"from": "gpt", "value": "".join(f"{k + 1}. Prüfe zuerst, ob alles fest sitzt (Schritt {k + 1}).\n" for k in range(i % 5 + 2)) + f"Zum Schluss wird {w} gereinigt und weggeräumt."},
    ]})
(out / "evol_instruct_de.json").write_text(json.dumps(evol, ensure_ascii=False, indent=2), encoding="utf-8")

# 3. FreedomIntelligence/alpaca-gpt4-deutsch: the same, ASCII-escaped.
alpaca = []
for i, a in enumerate(animals * 5):
    s = seasons[i % 4]
    alpaca.append({"id": f"{i}", "conversations": [
        {"from": "human", "value": f"Was frisst der {a} im {s}?"},
        {"from": "gpt", "value": f"Im {s} frisst der {a}, was er findet." if i % 2 else f"Der {a} ist im {s} wählerisch:\n\n- Beeren\n- Würmer\n- übrig gebliebene Nüsse"},
    ]})
(out / "alpaca_gpt4_de.json").write_text(json.dumps(alpaca), encoding="utf-8")

# 4. LeoLM/OpenSchnabeltier: instruction_de, output_de beside the English originals.
schnabel = []
for i in range(40):
    a, b = 3 + i, 7 * (i % 6) + 2
    schnabel.append({
        "instruction": f"What is {a} times {b}?", "output": f"{a * b}", "input": "",
        "instruction_de": f"Berechne das Produkt von ${a}$ und ${b}$ und begründe den Rechenweg.",
        "output_de": f"Wir rechnen $${a} \\cdot {b} = {a * b}$$ und erhalten \\boxed{{{a * b}}}.",
    })
Dataset.from_list(schnabel).to_parquet(out / "openschnabeltier.parquet")

# 5. LeoLM/German_Songs: two exchanges in one row.
songs = []
for i in range(20):
    s, t = seasons[i % 4], towns[i % 8]
    songs.append({
        "prompt": f"Schreibe ein Lied über den {s} in {t}.",
        "song": "\n".join([f"[Strophe {k + 1}]\nDer {s} zieht durch {t} hin,\nein leises Lied mir in den Sinn.\n" for k in range(2 + i % 2)]),
        "analysis_prompt": "Was bedeutet dieses Lied?",
        "analysis": f"Das Lied beschreibt den {s} als Gast der Stadt {t}; das wiederkehrende Bild des Ziehens steht für die vergehende Zeit.",
    })
Dataset.from_list(songs).to_parquet(out / "german_songs.parquet")

# 6. LeoLM/German_Poems: prompt, poem.
poems = []
for i in range(25):
    a, s = animals[i % 7], seasons[i % 4]
    poems.append({
        "prompt": f"Dichte einen Vierzeiler: {a}, {s}.",
        "poem": f"Der {a} saß am Gartenzaun,\nder {s} war ihm anzuschaun.\nEr sprach: »Was kümmert mich die Zeit?\nIch bin zum Warten gern bereit.«",
    })
Dataset.from_list(poems).to_parquet(out / "german_poems.parquet")
