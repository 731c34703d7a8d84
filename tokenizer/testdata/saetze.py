"""Writes saetze.txt: German sentences of our own for training and testing tokenizers."""
import random

FEST = """Guten Morgen, wie geht es dir heute?
Gestern Abend haben wir lange am Küchentisch gesessen und geredet.
Der Zug nach Hamburg fährt um 7:45 Uhr von Gleis 12 ab.
Ich hätte gern zwei Brötchen, ein Stück Apfelkuchen und einen großen Kaffee.
Das Mädchen schrieb einen Brief an seine Großmutter in Österreich.
„Kommst du mit?“, fragte er, und sie antwortete: „Natürlich!“
Die Straßenbahn war überfüllt, weil die U-Bahn ausgefallen war.
Meine E-Mail-Adresse lautet leo.loewe@beispiel.example.
Auf www.beispiel.example/hilfe?thema=schrift steht mehr dazu.
Drei Viertel der Fläche (rund 75 %) sind mit Wald bedeckt.
Die Rechnung beträgt 1.234,56 €; bitte zahlen Sie bis zum 31.12.2024.
Fischers Fritz fischt frische Fische, und frische Fische fischt er gern.
Im Frühling blühen Krokusse, Märzenbecher, Tulpen und Narzissen.
Warum ist der Himmel eigentlich blau und nicht grün?
Ein Löwe brüllt, ein Hund bellt, eine Katze miaut, ein Pferd wiehert.
Wer anderen eine Grube gräbt, muss wenigstens eine Schaufel haben.
Die Geschwindigkeitsbegrenzung auf der Bundesstraße liegt bei 70 km/h.
Nach dem Abitur möchte sie Maschinenbau oder Rechtswissenschaft studieren.
Das Wetter: morgens neblig, mittags sonnig, abends Gewitter – typisch April.
Schreib die Wörter „Maß“ und „Masse“ nicht gleich, sie bedeuten Verschiedenes.
def gruss(name): return "Hallo, " + name + "!"
if (x <= 3 && y != 0) { z = x / y; } else { z = -1; }
Er sagte, dass das, was das heißt, das Gleiche sei wie damals.
Über den Wolken muss die Aussicht unbeschreiblich schön sein.
Zur Prüfung dürfen Taschenrechner, Lineal und Zirkel mitgebracht werden.
Der Rhein fließt durch die Schweiz, Frankreich, Deutschland und die Niederlande.
Kannst du mir erklären, wie ein Ottomotor funktioniert?
Ja. Nein. Vielleicht! Wirklich? Ach so …
Ihre Telefonnummer ist 030 1234567, die Vorwahl nicht vergessen.
Am Ende des Regenbogens liegt, so erzählt man, ein Topf voller Gold.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.
Franz jagt im komplett verwahrlosten Taxi quer durch Bayern.
Ein Quäntchen Glück gehört zum Erfolg dazu, sagte die Trainerin.
Die Donaudampfschifffahrt wurde im neunzehnten Jahrhundert gegründet.
Wasser kocht auf Meereshöhe bei 100 °C und gefriert bei 0 °C.
Die Schülerinnen und Schüler lernen heute das kleine Einmaleins.
Sein Café-Besuch endete mit einem Déjà-vu und einer Crème brûlée.
Señor Núñez und Frau Dvořák treffen sich in Århus.
α, β und γ sind die ersten Buchstaben des griechischen Alphabets.
„Привет“ heißt auf Russisch „Hallo“, 你好 auf Chinesisch.
Das Rezept braucht 250 g Mehl, 3 Eier, 1/2 Liter Milch und eine Prise Salz.
Mein Bruder, der in München wohnt, kommt am Wochenende zu Besuch.
Herzlichen Glückwunsch zum Geburtstag, alles Gute und viel Gesundheit!
Der Arzt verschrieb ihr ein Medikament gegen die Kopfschmerzen.
Bitte schließen Sie die Tür; es zieht.
Ungefähr ein Drittel der Befragten war anderer Meinung.
In der Bibliothek ist es still, nur die Heizung knackt leise.
Ohne Fleiß kein Preis, ohne Schweiß kein Eis.
Der Bäcker bäckt, der Schneider schneidert, der Müller mahlt.
Die Universität wurde im Jahr 1386 gegründet.
""".strip().split("\n")

WER = ["Der alte Fischer", "Meine Schwester", "Ein junger Lehrer", "Die Bürgermeisterin", "Unser Nachbar", "Das kleine Kind", "Eine Ärztin aus Köln",
       "Der Wissenschaftler", "Die Großeltern meines Freundes", "Ein müder Wanderer", "Frau Schröder", "Der Hund des Försters", "Eine Gruppe Schüler"]
WANN = ["heute", "gestern Abend", "im Winter 1987", "nach langer Überlegung", "jeden Morgen um sechs", "am Ende der Woche", "während des Gewitters", "vor vielen Jahren", "ohne zu zögern", "plötzlich"]
WAS = ["ein Buch über die Geschichte Preußens", "den Schlüssel zum Gartenhäuschen", "eine süße Überraschung", "zwanzig rote Äpfel", "das Fahrrad mit den großen Rädern",
       "einen langen Brief an das Finanzamt", "frisches Brot und Käse", "die Lösung der schwierigen Aufgabe", "ein Lied, das niemand kannte", "den Weg durch den dunklen Wald", "Träume aus Glas"]
TAT = [("suchte", ""), ("fand", ""), ("hat", " gesehen"), ("konnte", " nicht vergessen"), ("möchte", " kaufen"), ("brachte", " mit nach Hause"), ("wird", " wohl nie verstehen"), ("beschrieb", " in allen Einzelheiten")]
NACH = [".", ".", ".", "!", ", obwohl es regnete.", ", weil alle es erwarteten.", " – und lachte.", "; danach war Ruhe.", " (so steht es im Protokoll).", ", sagte man."]


def saetze():
    r = random.Random(7)
    alle = list(FEST)
    while len(alle) < 400:
        verb, rest = r.choice(TAT)
        s = f"{r.choice(WER)} {verb} {r.choice(WANN)} {r.choice(WAS)}{rest}{r.choice(NACH)}"
        if s not in alle:
            alle.append(s)
    return alle


if __name__ == "__main__":
    import os
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "saetze.txt"), "w") as f:
        f.write("\n".join(saetze()) + "\n")
