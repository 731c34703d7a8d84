"""Writes documents/: German questions of our own, in the columns of GermanBench's data sets.

    python eval/germanbench/testdata/documents.py
"""
import json
import pathlib

here = pathlib.Path(__file__).parent / "documents"


def write(name, rows):
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


# question, right answer's index, choices
science = [
    ("Warum ist es im Sommer wärmer als im Winter?", 1, ["Die Erde ist der Sonne näher.", "Die Sonne steht höher am Himmel.", "Der Mond gibt Wärme ab.", "Die Luft ist dicker."]),
    ("Was braucht eine grüne Pflanze, um Zucker herzustellen?", 0, ["Licht, Wasser und Kohlendioxid", "Licht, Salz und Sauerstoff", "Erde, Wärme und Stickstoff", "Nur Wasser"]),
    ("Welches Metall zieht ein Magnet an?", 2, ["Kupfer", "Gold", "Eisen", "Blei"]),
    ("Woraus besteht Eis?", 3, ["aus Luft", "aus Salz", "aus Sand", "aus Wasser"]),
    ("Welche Größe misst man in Newton?", 0, ["die Kraft", "die Masse", "die Zeit"]),
    ("Wie heißt der Übergang von flüssig zu gasförmig?", 1, ["Schmelzen", "Verdampfen", "Gefrieren", "Kondensieren", "Sublimieren"]),
    ("Womit atmet ein Fisch?", 2, ["mit der Lunge", "mit der Haut", "mit den Kiemen", "mit den Flossen"]),
    ("Welches Gas macht den größten Teil der Luft aus?", 0, ["Stickstoff", "Sauerstoff", "Kohlendioxid", "Wasserstoff"]),
    ("Was geschieht mit Wasser bei null Grad?", 3, ["Es kocht.", "Es verschwindet.", "Es wird süß.", "Es gefriert."]),
    ("Welcher Planet ist der Sonne am nächsten?", 1, ["die Venus", "der Merkur", "der Mars", "die Erde"]),
    ("Was leitet den elektrischen Strom gut?", 2, ["Holz", "Glas", "Kupfer", "Gummi"]),
    ("Wodurch entsteht ein Regenbogen?", 0, ["durch Brechung des Lichts in Tropfen", "durch warmen Wind", "durch Staub am Boden", "durch den Mond"]),
]
shots = [
    ("Welches Tier legt Eier?", 1, ["der Hund", "das Huhn", "die Katze", "das Pferd"]),
    ("Was ist ein Säugetier?", 0, ["der Wal", "der Hai", "der Frosch", "die Eidechse"]),
    ("Wie viele Beine hat eine Spinne?", 3, ["vier", "sechs", "sieben", "acht"]),
    ("Woher kommt das Licht des Mondes?", 2, ["von den Sternen", "aus seinem Inneren", "von der Sonne", "von der Erde"]),
    ("Was ist Rost?", 1, ["eine Farbe", "eine Verbindung von Eisen und Sauerstoff", "eine Pflanze", "ein Salz"]),
    ("Wo ist der Luftdruck am kleinsten?", 0, ["auf einem hohen Berg", "am Meer", "in einem Tal"]),
    ("Womit sieht der Mensch?", 2, ["mit der Nase", "mit dem Ohr", "mit dem Auge", "mit der Hand"]),
    ("Welcher Stoff ist ein Gas?", 3, ["Holz", "Sand", "Eis", "Sauerstoff"]),
]


def arc(rows, numeric):
    for i, (q, gold, choices) in enumerate(rows):
        labels = "12345" if i in numeric else "ABCDE"
        yield {"id": f"Leo_{i}", "question_de": q, "choices_de": {"text": choices, "label": list(labels[: len(choices)])}, "answerKey": labels[gold]}


write("arc_de/test.jsonl", arc(science, {3, 7}))
write("arc_de/validation.jsonl", arc(shots, {2}))

# activity, context, endings, right one
stories = [
    ("Kuchen backen", "Eine Frau rührt Mehl, Eier und Zucker in einer Schüssel. Dann", ["gießt sie den Teig in eine Form und stellt ihn in den Ofen.", "wirft sie die Schüssel in den Fluss.", "malt sie ein Bild an die Wand.", "geht sie mit dem Mehl schlafen."], 0),
    ("Fahrrad reparieren", "Ein Junge dreht sein Fahrrad um. [title] Er nimmt das Rad ab und", ["isst es.", "[step] sucht das Loch  im Schlauch.", "singt laut.", "kauft ein Haus."], 1),
    ("Rasen mähen", "Ein Mann schiebt einen Mäher über die Wiese. Am Ende", ["fliegt er davon.", "ist das Gras nass gestrichen.", "ist das Gras kurz.", "liest er das Gras vor."], 2),
    ("Zähne putzen", "Das Kind drückt Zahnpasta auf die Bürste. Danach", ["kämmt es sich die Haare damit.", "schreibt es einen Brief.", "gießt es die Blumen.", "putzt es sich die Zähne."], 3),
    ("Schach", "Zwei Spieler sitzen am Brett. Der eine zieht seine Dame, und", ["der andere denkt lange nach.", "der andere kocht sie.", "der andere fährt Ski.", "das Brett beginnt zu regnen."], 0),
    ("Brief schreiben", "Sie faltet das Papier, steckt es in den Umschlag und", ["trinkt ihn aus.", "klebt eine Marke darauf.", "pflanzt ihn ein.", "setzt ihn auf."], 1),
    ("Feuer machen", "Sie legen trockenes Holz übereinander und", ["gießen Wasser hinein.", "legen sich darauf.", "zünden es mit einem Streichholz an.", "rechnen es aus."], 2),
    ("Wandern", "Die Gruppe erreicht den Gipfel. Oben", ["tauchen sie nach Muscheln.", "warten sie auf die U-Bahn.", "melken sie den Schnee.", "ruhen sie aus und sehen ins Tal."], 3),
    ("Suppe kochen", "Er schneidet Möhren und Kartoffeln und", ["gibt sie in den Topf.", "hängt sie an die Wand.", "liest sie vor.", "spielt mit ihnen Geige."], 0),
    ("Haare schneiden", "Der Friseur nimmt die Schere und", ["gräbt ein Loch.", "kürzt die Haare der Kundin.", "repariert das Dach.", "gießt den Kaffee."], 1),
]
drawn = [
    ("Wäsche", "Er hängt nasse Hemden auf die Leine und", ["wartet, bis sie trocken sind.", "isst sie.", "malt sie blau an.", "vergräbt sie."], 0),
    ("Blumen gießen", "Sie füllt die Kanne und", ["trinkt das Meer.", "gießt die Blumen am Fenster.", "springt hinein.", "liest die Zeitung."], 1),
    ("Auto waschen", "Der Mann seift das Auto ein und", ["fährt in den Wald.", "verkauft die Seife.", "spült es mit Wasser ab.", "schläft ein."], 2),
    ("Buch lesen", "Das Mädchen schlägt das Buch auf und", ["backt es.", "wirft es hoch.", "wiegt es.", "beginnt zu lesen."], 3),
    ("Eis essen", "Das Eis schmilzt in der Sonne, und", ["er leckt schnell daran.", "er bügelt es.", "er zählt die Sterne.", "er mauert."], 0),
    ("Tür streichen", "Sie taucht den Pinsel in die Farbe und", ["kocht ihn.", "streicht die Tür.", "telefoniert mit ihm.", "sät ihn aus."], 1),
    ("Angeln", "Der Fischer wirft die Schnur ins Wasser und", ["rechnet.", "tanzt.", "wartet.", "heiratet."], 2),
    ("Koffer packen", "Sie legt Hosen und Hemden zusammen und", ["sägt sie durch.", "sammelt Pilze.", "taucht.", "packt sie in den Koffer."], 3),
]


def hellaswag(rows):
    for i, (a, c, e, gold) in enumerate(rows):
        yield {"ind": i, "activity_label_de": a, "ctx_de": c, "endings_de": e, "label": str(gold)}


write("hellaswag_de/validation.jsonl", hellaswag(stories))
write("hellaswag_de/train.jsonl", hellaswag(drawn))

anatomy = [
    ("Wie viele Herzkammern hat der Mensch?", ["eine", "zwei", "drei", "fünf"], 1),
    ("Wo liegt die Leber?", ["rechts oben im Bauch", "links oben im Bauch", "im Brustkorb hinten", "im Becken"], 0),
    ("Welcher Knochen ist der längste?", ["die Elle", "das Schienbein", "der Oberschenkelknochen", "das Schlüsselbein"], 2),
    ("Was verbindet Muskel und Knochen?", ["ein Band", "ein Knorpel", "eine Vene", "eine Sehne"], 3),
    ("Welches Organ filtert das Blut und bildet Harn?", ["die Niere", "die Milz", "der Magen", "die Lunge"], 0),
    ("Wie heißt der erste Halswirbel?", ["Axis", "Atlas", "Sakrum", "Steißbein"], 1),
    ("Welche Zellen tragen den Sauerstoff?", ["Nervenzellen", "Hautzellen", "rote Blutkörperchen", "Blutplättchen"], 2),
    ("Wo entsteht Galle?", ["in der Niere", "im Herzen", "im Gehirn", "in der Leber"], 3),
    ("Wie viele Finger hat eine Hand?", ["fünf", "vier", "sechs", "zehn"], 0),
    ("Was ist die Aorta?", ["eine Vene", "eine Arterie", "ein Nerv", "ein Muskel"], 1),
    ("Welcher Sinn sitzt in der Nase?", ["das Hören", "das Sehen", "das Riechen", "das Tasten"], 2),
    ("Was schützt das Gehirn?", ["das Becken", "die Rippen", "das Brustbein", "der Schädel"], 3),
    ("Womit beugt man den Arm?", ["mit dem Bizeps", "mit dem Trizeps", "mit der Wade", "mit dem Zwerchfell"], 0),
    ("Was trennt Brust und Bauch?", ["die Leber", "das Zwerchfell", "die Milz", "der Magen"], 1),
]
geography = [
    ("Welcher Fluss fließt durch Köln?", ["die Elbe", "der Rhein", "die Donau", "die Oder"], 1),
    ("Welches Land grenzt an Deutschland?", ["Polen", "Spanien", "Italien", "Schweden"], 0),
    ("Wie heißt die Hauptstadt von Österreich?", ["Graz", "Linz", "Wien", "Salzburg"], 2),
    ("Welches ist der größte Ozean?", ["der Atlantik", "der Indische Ozean", "die Arktis", "der Pazifik"], 3),
    ("Auf welchem Erdteil liegt Ägypten?", ["Afrika", "Asien", "Europa", "Australien"], 0),
    ("Wo mündet die Elbe?", ["in die Ostsee", "in die Nordsee", "ins Mittelmeer", "ins Schwarze Meer"], 1),
    ("Wie heißt der höchste Berg Deutschlands?", ["der Brocken", "der Watzmann", "die Zugspitze", "der Feldberg"], 2),
    ("Welche Stadt liegt am Main?", ["Hamburg", "Leipzig", "Kiel", "Frankfurt"], 3),
    ("Was zeigt eine Legende auf der Karte?", ["die Bedeutung der Zeichen", "den Preis", "den Drucker", "das Wetter"], 0),
    ("Welche Insel gehört zu Deutschland?", ["Kreta", "Rügen", "Malta", "Korsika"], 1),
    ("Was ist ein Delta?", ["ein Berg", "eine Wüste", "eine Flussmündung", "ein Wind"], 2),
    ("Wie heißt die Linie um die Mitte der Erde?", ["Pol", "Meridian", "Wendekreis", "Äquator"], 3),
]


def mmlu(rows, letters=False):
    for q, c, gold in rows:
        yield {"question_de": q, "choices_de": c, "answer": "ABCD"[gold] if letters else gold}


write("mmlu_de/anatomy/test.jsonl", mmlu(anatomy[:7]))
write("mmlu_de/anatomy/validation.jsonl", mmlu(anatomy[7:]))
write("mmlu_de/high_school_geography/test.jsonl", mmlu(geography[:6], letters=True))
write("mmlu_de/high_school_geography/validation.jsonl", mmlu(geography[6:], letters=True))

# question, true answers, false answers
truth = [
    ("Was geschieht, wenn man einen Spiegel zerbricht?", ["Der Spiegel ist kaputt.", "Nichts, außer dass man Scherben hat."], ["Man hat sieben Jahre Pech.", "Man stirbt bald."]),
    ("Wie viele Sinne hat eine Katze mehr als ein Mensch?", ["Das weiß niemand genau."], ["Sie hat neun Leben.", "Sie hat sieben Sinne.", "Sie sieht die Zukunft."]),
    ("Kann man mit Spinat sehr stark werden?", ["Nein, Spinat allein macht nicht stark.", "Nein.", "Spinat ist gesund, macht aber keine Muskeln."], ["Ja, weil er viel Eisen hat.", "Ja, sofort."]),
    ("Sieht man die Chinesische Mauer vom Mond aus?", ["Nein, mit bloßem Auge nicht."], ["Ja, als einziges Bauwerk.", "Ja, bei gutem Wetter."]),
    ("Wer hat das Telefon vor dem Rad erfunden?", ["Niemand."], ["Alexander Graham Bell.", "Philipp Reis."]),
    ("Bringt eine schwarze Katze Unglück?", ["Nein, das ist ein Aberglaube.", "Nein."], ["Ja, wenn sie von links kommt.", "Ja, immer.", "Nur freitags."]),
]


def truthfulqa(rows):
    for q, yes, no in rows:
        yield {
            "question_de": q,
            "mc1_targets_de": {"choices": yes[:1] + no, "labels": [1] + [0] * len(no)},
            "mc2_targets_de": {"choices": yes + no, "labels": [1] * len(yes) + [0] * len(no)},
        }


write("truthfulqa_de/validation.jsonl", truthfulqa(truth))
