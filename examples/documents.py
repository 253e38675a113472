"""Ask about documents of your own. Needs MOONSHOT_API_KEY.

Each file is uploaded, read by the service, and deleted again; equal files are uploaded once. What cannot be read is
told with its reason, and the others are asked about all the same.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.documents import DocumentProgress, Documents

MODEL = "kimi-k2.6"


def write_samples(directory: Path) -> list[Path]:
    """Some files to ask about; take your own instead: PDF, Word, Excel, PowerPoint, HTML, Markdown, text, ..."""
    samples = {
        "offer-north.md": "# Offer of North Ltd\n\nRoof, 40 square metres: 5,200 EUR. Ready by May.",
        "offer-south.md": "# Offer of South GmbH\n\nRoof, 40 square metres: 4,900 EUR. Ready by July.",
        "offer-south (copy).md": "# Offer of South GmbH\n\nRoof, 40 square metres: 4,900 EUR. Ready by July.",
        "offer-west.md": "",
    }
    for name, text in samples.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in samples]


def tell(progress: DocumentProgress) -> None:
    document = progress.document
    outcome = f"{len(document.text)} characters" if document.ok else "not read"
    print(f"{progress.done}/{progress.total} {document.name}: {outcome}")


async def main(paths: list[Path]) -> None:
    # With cache=Path("...") the texts are kept on disk, and the next run uploads nothing.
    async with AsyncMoonshot() as client, Documents(client, parallel=4) as documents:
        answer = await documents.ask(paths, "Who is cheaper, and who is faster?", model=MODEL, progress=tell)
        for failed in answer.errors:
            print(f"Left out: {failed.error}")
        print(answer.text)

        # Files that other programs forgot fill the account: 1,000 of them, or 10 GB, and no upload works any more.
        print(await documents.janitor(older_than=timedelta(days=7), dry_run=True))


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        asyncio.run(main(write_samples(Path(directory))))
