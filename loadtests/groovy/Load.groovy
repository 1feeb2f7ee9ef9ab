import groovy.transform.CompileStatic
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.locks.LockSupport
import org.apache.jmeter.threads.JMeterContext
import org.apache.jmeter.threads.JMeterVariables
import sun.misc.Signal

/**
 * The load as JMeter's plan (jmeter_plan.py) sees it: the same schedule, choices, bags and ledger lines as the other adapters.
 *
 * The plan's setUp group makes one `Load`, which reads what load tools are told from the environment (plan.py). From then on
 * the plan's elements call it: `next` before each request (waits until it is due, and says what to send), `invoke` right
 * before the wire, `done` right after, `end` when all users have gone. Anything that throws in here ends JMeter with 4:
 * JMeter itself would log it, go on, and exit 0.
 */
@CompileStatic
class Load {
    static final long STARTING_S = 60

    final Map<String, String> env = System.getenv()
    final Map scenario = Json.read(env.GYM_LOAD_SCENARIO)
    final Map population = Json.read(env.GYM_LOAD_POPULATION)
    final Map shape = Json.object(env.GYM_LOAD_SHAPE)
    final List<String> schedule = Files.readAllLines(Path.of(env.GYM_LOAD_SCHEDULE))
    final int users = env.GYM_LOAD_USERS as int
    final List<Map> flows = (List<Map>) scenario.flows
    final List<Map> players = (List<Map>) population.users
    final List<Map> tournaments = (List<Map>) population.tournaments
    final Map<Object, List<Map>> matches = [:]
    final Map<String, Integer> byName = [:]
    final Ledger ledger = new Ledger("${env.GYM_LOAD_DIRECTORY}/ledger.jsonl")

    private final AtomicInteger threads = new AtomicInteger()
    private final AtomicInteger arrivals = new AtomicInteger()
    private final AtomicInteger dropped = new AtomicInteger()
    private final CountDownLatch begun = new CountDownLatch(1)
    private final Set<Thread> playing = ConcurrentHashMap.newKeySet()
    private volatile boolean stopped
    private volatile long beganNs
    private volatile String broken

    /** The load; without one JMeter ends. */
    static Load open() {
        try {
            return new Load()
        } catch (Throwable error) {
            System.err.println("The load could not be read ($error); start load tools with `gymkhana load`.")
            System.exit(4)
        }
    }

    private Load() {
        flows.eachWithIndex { Map flow, int index -> byName[(String) flow.name] = index }
        for (Map match : (List<Map>) population.matches) {
            for (Object player : [match.home_id, match.away_id]) {
                matches.computeIfAbsent(player) { [] as List<Map> }.add(match)
            }
        }
        ['TERM', 'INT'].each { String name -> Signal.handle(new Signal(name)) { stop() } }
    }

    /** Waits until the thread's next request is due and puts it into the thread's variables; or ends the thread. */
    void next(JMeterContext context) {
        guarded(context) {
            JMeterVariables known = context.variables
            VirtualUser user = (VirtualUser) known.getObject('user')
            if (known.get('begun') == null && !begin(known)) {
                context.thread.stop()
                return
            }
            user = shape.model == 'open' ? arrival() : stay(user ?: visitor(context.threadNum + 1))
            if (user == null) {
                context.thread.stop()
                return
            }
            known.putObject('user', user)
            known.put('flow', user.flowIndex as String)
            known.put('token', user.token)
            known.put('path', user.path)
            known.put('body', user.body)
            known.put('op', user.op ?: '')
        }
    }

    /** The line before a write, and the start of the clock. */
    void invoke(JMeterContext context) {
        guarded(context) {
            VirtualUser user = (VirtualUser) context.variables.getObject('user')
            if (context.currentSampler.name != user.flow.name) {
                throw new IllegalStateException("JMeter was to send ${user.flow.name} and sends ${context.currentSampler.name}.")
            }
            user.beganNs = System.nanoTime()
            if (user.op != null) {
                ledger.write([k: 'invoke', op: user.op, flow: user.flow.name, user: user.number], user.beganNs)
            }
        }
    }

    /** The line after every answer, and what the user learns from it. */
    void done(JMeterContext context) {
        long now = System.nanoTime()
        guarded(context) {
            VirtualUser user = (VirtualUser) context.variables.getObject('user')
            Answer answer = new Answer(context.previousResult)
            String became = answer.outcome()
            Map line = [
                k: 'done', op: user.op, flow: user.flow.name, user: user.number, d: (now - user.beganNs) / 1e9d,
                status: answer.status, outcome: became, write: user.flow.write == true, digest: answer.headers['effect-digest'],
                seq: answer.sequence(), err: answer.error, db: answer.databaseMs(), lag: (user.beganNs - user.dueNs) / 1e6d,
            ]
            ledger.write(line, user.beganNs)
            user.learn(became, answer)
            user.freeNs = System.nanoTime()
        }
    }

    /** All threads have ended: the ledger gets its end line. JMeter exits with 4 when anything broke. */
    void end() {
        guarded(null) {
            Map counts = [k: 'end', invoked: ledger.invoked.get(), done: ledger.done.get(), dropped: dropped.get()]
            ledger.write(counts, System.nanoTime())
            ledger.close()
        }
        if (broken != null) {
            System.err.println(broken)
            System.exit(4)
        }
    }

    /** The load begins when the last thread is there: what making a thousand of them costs is not measured. */
    private boolean begin(JMeterVariables known) {
        known.put('begun', 'yes')
        playing.add(Thread.currentThread())
        if (threads.incrementAndGet() == users) {
            beganNs = System.nanoTime()
            begun.countDown()
        }
        int before = 0
        while (!begun.await(STARTING_S, TimeUnit.SECONDS)) {
            int now = threads.get()
            if (now > before) {
                before = now // slowly, but they come
                continue
            }
            throw new IllegalStateException("Only ${threads.get()} of $users users could be started; see jmeter.log.")
        }
        !stopped
    }

    /** Closed model: the user once its pause is over; null when it has left for good. */
    private VirtualUser stay(VirtualUser user) {
        while (true) {
            if (!user.up) {
                double[] stay = user.stays.poll()
                if (stay == null || !waitUntil(at(stay[0]))) {
                    return null
                }
                user.up = true
                user.leavesNs = at(stay[1])
                user.freeNs = System.nanoTime()
                ledger.write([k: 'user', user: user.number, up: true], user.freeNs)
            }
            user.dueNs = user.freeNs + user.pauseNs()
            boolean going = waitUntil(Math.min(user.dueNs, user.leavesNs))
            if (going && user.dueNs < user.leavesNs) {
                user.choose()
                return user
            }
            user.up = false
            ledger.write([k: 'user', user: user.number, up: false], System.nanoTime())
            if (!going) {
                return null
            }
        }
    }

    /** Open model: who comes next, once that is due; null after the last. One that finds no thread waiting is dropped. */
    private VirtualUser arrival() {
        while (true) {
            int number = arrivals.incrementAndGet()
            if (number > schedule.size()) {
                return null
            }
            Map due = Json.object(schedule[number - 1])
            long dueNs = at(((Number) due.at_ms).doubleValue() / 1000d)
            if (System.nanoTime() - dueNs > 0) {
                dropped.incrementAndGet()
                continue
            }
            VirtualUser user = new VirtualUser(this, number, [[(Number) due.flow, 0]])
            user.dueNs = dueNs
            user.choose()
            return waitUntil(dueNs) ? user : null
        }
    }

    private VirtualUser visitor(int number) {
        new VirtualUser(this, number, (List<List<Number>>) Json.object(schedule[number - 1]).steps)
    }

    private long at(double seconds) {
        beganNs + (long) (seconds * 1e9d)
    }

    /** Whether the load went on until then. Threads wait each for itself: in one queue a thousand would get in their way. */
    private boolean waitUntil(long instantNs) {
        long left
        while (!stopped && (left = instantNs - System.nanoTime()) > 0) {
            LockSupport.parkNanos(this, left)
        }
        !stopped
    }

    private void stop() {
        stopped = true
        begun.countDown()
        playing.each { Thread thread -> LockSupport.unpark(thread) }
    }

    private void guarded(JMeterContext context, Closure action) {
        try {
            action.call()
        } catch (Throwable error) {
            if (broken == null) {
                broken = error instanceof IllegalStateException ? error.message : "A virtual user broke ($error); see the log."
                error.printStackTrace()
            }
            stop()
            context?.thread?.stop()
        }
    }
}
