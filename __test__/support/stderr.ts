/** Text that was written to stderr while `body` ran; nothing of it is shown. */
export function stderrOf(body: () => void): string {
  const { write } = process.stderr;
  let text = '';
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
    return true;
  };
  try {
    body();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

/** Runs `body`, in which greenlets fail on purpose, without their reports in the output of the tests. */
export function muted<T>(body: () => T): T {
  let result: { value: T } | undefined;
  stderrOf(() => (result = { value: body() }));
  return result!.value;
}
