import groovy.transform.CompileStatic
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.atomic.AtomicInteger

/** Each line is one write to a file opened for appending. Lines are counted before they are written. */
@CompileStatic
class Ledger {
    final AtomicInteger invoked = new AtomicInteger()
    final AtomicInteger done = new AtomicInteger()
    private final String path
    private final FileOutputStream file
    private final boolean monotonic

    Ledger(String path) {
        this.path = path
        file = new FileOutputStream(path, true) // unlike a channel, an interrupt does not close it
        // nanoTime is the monotonic clock of the other adapters where the clock line says so; elsewhere instants are wall time.
        Map clock = Json.object(Files.readAllLines(Path.of(path)).first())
        double since = System.nanoTime() / 1e9d - (double) clock.mono
        monotonic = Math.abs(since - (System.currentTimeMillis() / 1e3d - (double) clock.wall)) < 0.05d
    }

    void write(Map line, long atNs) {
        if (line.k == 'invoke') {
            invoked.incrementAndGet()
        } else if (line.k == 'done') {
            done.incrementAndGet()
        }
        if (monotonic) {
            line.t = atNs / 1e9d
        } else {
            line.tw = System.currentTimeMillis() / 1e3d - (System.nanoTime() - atNs) / 1e9d
        }
        try {
            file.write((Json.text(line) + '\n').getBytes('UTF-8'))
        } catch (IOException error) {
            throw new IllegalStateException("The ledger $path cannot be written (${error.message}); free its disk.", error)
        }
    }

    void close() {
        file.channel.force(true)
        file.close()
    }
}
