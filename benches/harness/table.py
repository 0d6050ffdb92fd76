"""Medians as Markdown, which a terminal shows well enough."""


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def medians(samples):
    return {key: median([sample[key] for sample in samples]) for key in samples[0]}


def in_turn(targets, number):
    """Those of a round: every second one goes backwards, so that no target always follows the same one."""
    return targets[::-1] if number % 2 else targets


def show(title, head, rows, notes=()):
    """A section: its title, a table, and sentences below it."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    print(f"\n### {title}\n")
    for number, row in enumerate(cells):
        aligned = (cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths)))
        print("| " + " | ".join(aligned) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) if n == 0 else "-" * (width + 1) + ":" for n, width in enumerate(widths)) + "|")
    for note in notes:
        print(f"\n{note}")
    print(flush=True)


def say(text):
    """Progress, apart from the tables."""
    import sys
    print(f"  {text}", file=sys.stderr, flush=True)
