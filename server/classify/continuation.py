"""Recognising a message that only says "go on"."""

from __future__ import annotations

import re
import unicodedata

_MAX_LENGTH = 60

# Words that tell an agent to go on with what it proposed or was doing.
_PROCEED = """
yes|yep|yeah|yup|ya|sure|ok|okay|k|kk|y|affirmative|agreed|approved|approve|confirm|confirmed
yes please|please do|do it|do that|do so|go|go ahead|go on|go for it|keep going|carry on|continue
continue please|proceed|next|resume|lets go|let s go|lets do it|let s do it|ship it|make it so
all of them|both|correct|right|exactly|of course|both of them|absolutely|definitely|just do it
please continue|please proceed|please go ahead
ja|jawohl|ja bitte|weiter|mach weiter|bitte weiter|weitermachen|mach das|mach es|fortfahren
fahre fort|fahr fort|in ordnung|genau|einverstanden|los|passt|gerne|na klar|klar|mach
oui|oui vas y|vas y|allez y|continue|continuez|continuer|d accord|daccord|fais le|faites le|ouais
poursuis|poursuivez|procede|bien sur|parfait continue|exact|c est bon|on continue|suivant
si|si por favor|sigue|siga|continua|continue|continúa|continuar|adelante|dale|hazlo|de acuerdo|vale
claro|procede|proceda|prosigue|correcto|por supuesto|siguiente|perfecto continua
sim|sim por favor|pode continuar|pode ir|pode fazer|pode seguir|continue|segue|siga|prossiga|pode
vai|vai em frente|manda ver|manda bala|faca|faça|faz isso|beleza|isso|certo|claro|proximo|próximo
va bene|vai avanti|avanti|procedi|continua|continuare|prosegui|fallo|certo|d accordo|esatto|fai pure
да|ага|угу|давай|дальше|продолжай|продолжи|продолжайте|продолжить|поехали|делай|сделай|хорошо|ок
окей|согласен|конечно|верно|валяй|вперед|вперёд|да продолжай|да давай|так|продовжуй|далі|добре
tak|dalej|kontynuuj|dobrze|jasne|ano|pokracuj|pokračuj|jo|dobre|ja graag|ga door|doorgaan|prima
ga verder|ja graag doe maar|doe maar|devam|devam et|evet|tamam|olur|fortsatt|fortsätt|kor|kör|gor det
joo|kylla|kyllä|jatka|vâng|vang|có|co|được|duoc|đồng ý|dong y|tiếp tục|tiep tuc|tiếp|tiep|làm đi|lam di
tiếp đi|tiep di|cứ làm đi|ừ|ok tiếp tục|ya|lanjut|lanjutkan|teruskan|oke|setuju|iya|silakan|baik
हाँ|हां|हा|जी|जी हाँ|जी हां|ठीक है|ठीक|जारी रखें|जारी रखो|आगे बढ़ो|आगे बढ़ें|करो|कर दो|चलो|हाँ करो
haan|han|theek hai|thik hai|jari rakho|aage badho|karo|kar do|chalo
نعم|اي|أجل|استمر|تابع|أكمل|اكمل|تمام|حسنا|حسنًا|موافق|כן|המשך|תמשיך|בסדר|بله|ادامه بده|باشه
ναι|συνέχισε|προχώρα|εντάξει|네|예|응|넵|넹|그래|좋아|좋아요|계속|계속해|계속해줘|계속해 줘|계속해주세요
계속해 주세요|계속 진행해|계속 진행해줘|진행|진행해|진행해줘|진행해 줘|진행해주세요|진행해 주세요|진행하자|해줘
해 줘|해주세요|그렇게 해|그렇게 해줘|그렇게 해주세요|오케이|ㅇㅇ|ㅇㅋ|다음|맞아|맞아요
"""

# Courtesies and praise: they change nothing beside a word above, and alone they close a matter.
_FILLER = """
looks good|looks great|sounds good|sounds great|lgtm|that works|works for me|good job|well done
please|pls|plz|thanks|thank you|thx|great|good|perfect|nice|cool|now|then|and|just|with it|with that
with this|alright|bitte|danke|gut|super|dann|jetzt|s il te plait|s il vous plait|stp|merci|parfait|bien
por favor|gracias|ahora|bueno|obrigado|obrigada|por gentileza|per favore|grazie|perfetto|bene|agora
пожалуйста|спасибо|отлично|ну|prosze|dzieki|alsjeblieft|bedankt|lutfen|lütfen|đi|nhé|cảm ơn|कृपया
धन्यवाद|감사합니다|좋습니다
"""

# Thanks after a mere "ok" close a matter, where "continue, thanks" does not.
_THANKS = """
thanks|thank you|thx|danke|merci|gracias|obrigado|obrigada|grazie|спасибо|dzieki|bedankt|cảm ơn
धन्यवाद|감사합니다
"""
_ASSENT = """
yes|yep|yeah|yup|ya|sure|ok|okay|k|kk|agreed|correct|right|exactly|ja|in ordnung|genau|klar|passt
oui|d accord|exact|c est bon|si|de acuerdo|vale|claro|correcto|sim|beleza|certo|va bene|esatto
да|ага|хорошо|ок|окей|верно|tak|dobrze|jasne|prima|evet|tamam|có|được|हाँ|ठीक है|네|예|좋아요
"""

# Scripts without blanks between words.
_UNSPACED_PROCEED = """
是|是的|好|好的|好吧|行|可以|可以的|没问题|沒問題|继续|繼續|请继续|請繼續|接着|接着做|继续吧|繼續吧|继续执行|继续做
下一步|开始|開始|开始吧|執行|执行|做吧|就这样|就这么做|同意|确认|確認|嗯|对|對|对的|没错|去做|搞吧|干吧|来吧|继续下去
はい|ええ|うん|継続|継続して|継続してください|続けて|続けてください|続行|続行して|続行してください|進めて|進めてください|お願いします|お願い|次|次へ
そうして|そうしてください|やって|やってください|了解|了解です|それで|それでお願いします|オーケー|オッケー|どうぞ|承認|大丈夫です
いいよ|いいです|いいですよ|ใช่|ต่อ|ต่อเลย|ทำต่อ|ทำเลย|ได้|ตกลง|โอเค
"""
_UNSPACED_FILLER = (
    "请|請|吧|啊|呢|了|谢谢|謝謝|ね|よ|では|じゃあ|ありがとう|ありがとうございます|ครับ|ค่ะ|ok|okay"
)

_CHOICE = re.compile(
    r"(?:(?:option|choice|number|no|nr|step|variant|opcion|opcao)\s)?"
    r"(?:\d{1,2}|[a-e])(?:(?:\s(?:and|und|et|y|e)\s|\s)(?:\d{1,2}|[a-e]))*"
)


def _phrases(text: str) -> frozenset[str]:
    # The entries go through the same folding as the messages they are compared with.
    return frozenset(_fold(phrase) for phrase in re.split(r"[|\n]", text) if phrase.strip())


def _fold(text: str) -> str:
    """Lower case, accents of Latin letters and everything that is no word removed."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = []
    for char in decomposed:
        category = unicodedata.category(char)
        if category[0] in "LN" or (category[0] == "M" and char > "\u036f"):
            kept.append(char)
        elif category[0] != "M" and category != "Cf":
            kept.append(" ")
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


_proceed = _phrases(_PROCEED)
_filler = _phrases(_FILLER) | _phrases(_THANKS)
_thanks = _phrases(_THANKS)
_assent = _phrases(_ASSENT)
_unspaced_proceed = _phrases(_UNSPACED_PROCEED)
_unspaced_filler = _phrases(_UNSPACED_FILLER)
_unspaced = re.compile(
    "(?:" + "|".join(sorted(_unspaced_proceed | _unspaced_filler, key=len, reverse=True)) + r"|\s)+"
)
_LONGEST = max(len(phrase.split()) for phrase in _proceed | _filler)


def is_bare_continuation(text: str) -> bool:
    """Whether ``text`` asks for nothing but to go on: "yes", "continue", "2", in any language."""
    if not text or len(text) > _MAX_LENGTH or "?" in text or "？" in text or "\n\n" in text:
        return False
    folded = _fold(text)
    if not folded:
        return any(mark in text for mark in "👍👌✅🆗")
    if _CHOICE.fullmatch(folded):
        return True
    return _is_spaced(folded.split()) or _is_unspaced(folded)


def _is_spaced(words: list[str]) -> bool:
    """Whether the words are phrases of the lists in a row, at least one of them a go-ahead."""
    found: set[str] = set()
    position = 0
    while position < len(words):
        for length in range(min(_LONGEST, len(words) - position), 0, -1):
            phrase = " ".join(words[position : position + length])
            if phrase in _proceed or phrase in _filler:
                found.add(phrase)
                position += length
                break
        else:
            return False
    proceeds = found & _proceed
    return bool(proceeds - _assent if found & _thanks else proceeds)


def _is_unspaced(folded: str) -> bool:
    if not _unspaced.fullmatch(folded):
        return False
    return any(phrase in folded for phrase in _unspaced_proceed)
