"""What a message asks for, in several languages; every example is written for this test."""

from __future__ import annotations

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st

from server.classify.reading import read_message
from server.classify.trained import judge_route, read

PLANNING = """
en How should we shard the orders table once it passes a billion rows?
en Which queue would you pick for nightly exports, and what are the trade-offs?
en why does the importer drop the last row of every batch?
en review my approach before I go further: retry three times, then park the job
en Come up with a strategy to retire the legacy gateway. Don't write code yet.
en explain each failing check and recommend what we do about it
en please investigate the memory growth in the worker
de Warum ist der Start der Anwendung so langsam geworden?
de Wie sollten wir die Rechte für Gäste modellieren?
de Analysiere den Ablauf beim Bezahlen und mach einen Vorschlag
fr Pourquoi la page d'accueil met-elle dix secondes à s'afficher ?
fr Quelle approche recommandes-tu pour gérer les sessions expirées ?
es ¿Por qué se duplican los correos de bienvenida?
es ¿Deberíamos usar colas o un cron para los informes?
pt Por que o relatório mensal vem vazio?
pt Qual abordagem você recomenda para o cache de imagens?
it Perché il login scade dopo cinque minuti?
it Come dovremmo organizzare i permessi degli utenti?
ru Почему отчёт строится двадцать минут?
ru Предложи стратегию перехода на новую схему прав
zh 为什么首页加载要十秒钟？
zh 用户权限应该怎么设计比较好？
ja なぜ起動がこんなに遅いのですか
ja 権限の設計はどうすればいいですか。おすすめの方針をください
ko 왜 로그인이 자꾸 풀리는지 원인을 분석해줘
"""

CODE = """
en Add a dark theme toggle to the settings dialog
en the footer overlaps the form on small screens, fix it please
en can you rename fetchAll to loadEverything and update the callers
en write unit tests for the date parser
en Explain what goes wrong in the importer and fix it
en now make the button blue and move it to the left
en I want the export to be streamed instead of built in memory
de Füge der Tabelle eine Spalte für das Datum hinzu
de Bitte korrigiere die Rundung im Warenkorb
de Schreib einen Test für den Parser
fr Ajoute une colonne pour la date dans le tableau
fr Renomme la méthode charger en chargerTout
fr écris des tests pour le calcul de la TVA
es Agrega una columna de fecha a la tabla
es corrige el cálculo del IVA, por favor
es Escribe pruebas para el módulo de pagos
pt Adicione uma coluna de data na tabela
pt corrija o cálculo do imposto
pt Escreva testes para o carrinho
it Aggiungi una colonna per la data alla tabella
it correggi il calcolo dell'IVA
ru Добавь столбец с датой в таблицу
ru исправь расчёт налога в корзине
zh 给表格添加一列日期
zh 帮我写一个函数，把日期转换成时间戳
ja 表に日付の列を追加してください
ja 税金の計算を修正してください
ko 표에 날짜 열을 추가해줘
ko 세금 계산 버그 고쳐줘
"""

SUMMARY = """
en What is the difference between a mutex and a semaphore?
en summarize the discussion above in three bullet points
en explain how TLS session resumption works
en Write a commit message for the change we made
en what does SIGHUP mean?
en translate this into French: the order has been shipped
en List all environment variables that the server reads
de Was ist der Unterschied zwischen TCP und UDP?
de Fasse den Text in zwei Sätzen zusammen
de Erkläre mir, was ein Semaphor ist
fr Explique-moi ce qu'est un sémaphore
fr Quelle est la différence entre TCP et UDP ?
fr Traduis en anglais : la commande est partie
es Explica qué es un semáforo en sistemas operativos
es ¿Cuál es la diferencia entre TCP y UDP?
pt Explique o que é um semáforo
pt Qual a diferença entre TCP e UDP?
it Spiegami cos'è un semaforo
it Qual è la differenza tra TCP e UDP?
ru Объясни, что такое семафор
ru В чём разница между TCP и UDP?
zh 解释一下什么是信号量
zh TCP 和 UDP 有什么区别？
ja セマフォとは何か説明してください
ja TCPとUDPの違いは何ですか
ko 세마포어가 뭔지 설명해줘
"""

FALLBACK = """
en run the linter
en commit this and push
en ok, deploy it to staging
en thanks, that's great
en no, the other one
en hello
en restart the container
en /compact
de Starte den Server
de danke, sieht gut aus
fr lance le serveur
fr merci, c'est parfait
es ejecuta las pruebas
es gracias, perfecto
pt rode os testes
pt obrigado, ficou perfeito
it esegui i test
it grazie, perfetto
ru запусти сервер
ru спасибо, отлично
zh 运行一下测试
zh 谢谢，很好
ja テストを実行して
ja ありがとう、完璧です
ko 테스트 실행해줘
"""


def routed(words: str) -> tuple[str, float, str]:
    return judge_route(*read(words))


def cases() -> list[tuple[str, str]]:
    tables = {
        "planning": PLANNING,
        "code_draft": CODE,
        "summary": SUMMARY,
        "fallback_safe": FALLBACK,
    }
    return [
        (route, line[3:]) for route, table in tables.items() for line in table.strip().splitlines()
    ]


@pytest.mark.parametrize(("route", "words"), cases())
def test_a_message_goes_where_its_words_say(route: str, words: str) -> None:
    found, confidence, reason = routed(words)
    assert (found, 0 < confidence <= 1) == (route, True)
    assert reason.endswith(".")


@pytest.mark.parametrize(
    "words",
    [
        "the planet picker is nice",
        "the airplane icon is great",
        "thanks for the explanation",
        "the address book is fine",
        "the prefixes are ok",
        "underwhelming, but fine",
    ],
)
def test_a_cue_inside_another_word_is_none(words: str) -> None:
    assert routed(words)[0] == "fallback_safe"


@pytest.mark.parametrize(
    "words",
    [
        "run the tests\n```\nTODO: explain why, then fix and summarize everything\n```",
        "run the tests\n> please explain and fix the summary",
        "run the tests\n2026-01-05 10:00:01 explain the difference between plans",
        "run `explain --fix`",
        "restart worker_fix_and_explain",
    ],
)
def test_what_is_shown_does_not_speak(words: str) -> None:
    assert routed(words)[0] == "fallback_safe"


def test_a_look_alike_of_another_language_does_not_count() -> None:
    english = "resume the download in the background and then restart it"
    assert not read_message(english).has("digest")
    assert read_message("resume el texto en una frase").has("digest")


def test_a_change_beats_a_question_and_a_plea_to_wait_beats_a_change() -> None:
    assert routed("why does it crash? fix it")[0] == "code_draft"
    waiting = "why does it crash? don't change anything yet, first tell me your plan"
    assert routed(waiting)[0] == "planning"


def test_confidence_follows_the_margin() -> None:
    clear = routed("Summarize this text in two sentences: it rained, and then it rained more.")
    vague = routed("fix or explain the importer")
    assert clear[1] > 0.8 > 0.6 > vague[1]


def test_the_end_of_a_long_message_is_read_too() -> None:
    filler = "lorem ipsum dolor sit amet " * 800
    assert routed(f"{filler}\n\nSummarize the text above.")[0] == "summary"
    assert routed(f"Summarize this text:\n\n{filler}")[0] == "summary"


def test_a_reading_holds_no_text() -> None:
    secret = "hunter2"
    shown = f"explain {secret} in @{secret} and `{secret}`: ```{secret}``` https://{secret}.example"
    assert secret not in repr(read_message(shown))


@steady
@given(st.text(max_size=400))
def test_any_text_can_be_judged(words: str) -> None:
    route, confidence, _ = routed(words)
    assert route in ("planning", "code_draft", "summary", "fallback_safe")
    assert 0 <= confidence <= 1


@pytest.mark.parametrize("word", ["explain", "これ", "```", "`a", "a=", "<system-reminder>", "--a"])
def test_work_is_bounded_on_any_text(word: str) -> None:
    once, often = read_message(f"{word} " * 2_000), read_message(f"{word} " * 200_000)
    assert often.signals == once.signals
