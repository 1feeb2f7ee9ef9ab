import groovy.transform.CompileStatic
import java.util.regex.Matcher
import java.util.regex.Pattern

/** One virtual user: what VirtualUser of virtual_user.py and the functions of k6.js do. */
@CompileStatic
class VirtualUser {
    static final int BAG_SIZE = 50
    static final Pattern HOLE = ~/"\{([^{}"]+)\}"|\{([^{}"]+)\}/
    static final Pattern RANGE = ~/(-?\d+)\.\.(-?\d+)/

    final int number
    final String token
    final Deque<double[]> stays
    boolean up
    long leavesNs
    long freeNs
    long dueNs
    long beganNs
    int flowIndex
    Map flow
    String path
    String body
    String op
    private final Load load
    private final Map me
    private final Generator random
    private final Map<String, List<Number>> bags = [:]
    private final int[] flowAt
    private final int[] pauseMsAt
    private Number taken
    private int played = 0

    VirtualUser(Load load, int number, List<List<Number>> steps) {
        this.load = load
        this.number = number
        me = load.players[(number - 1) % load.players.size()]
        token = me.token
        random = new Generator("${load.env.GYM_LOAD_SEED}-$number")
        flowAt = steps.collect { List<Number> step -> step[0].intValue() } as int[]
        pauseMsAt = steps.collect { List<Number> step -> step[1].intValue() } as int[]
        stays = Stays.of(number, (List<Map>) load.shape.stages)
        List<Map> own = load.matches.getOrDefault(me.id, [])
        bags.matches = own.collect { Map match -> (Number) match.id }
        Set entered = own.collect { Map match -> match.tournament_id } as Set
        bags.tournaments = load.tournaments.findAll { Map one -> one.open && !(one.id in entered) }.collect { Map one -> (Number) one.id }
    }

    long pauseNs() {
        pauseMsAt[played % pauseMsAt.length] * 1_000_000L
    }

    /** What to send now. An id taken from a bag stays out of it until `learn` says how the step ended. */
    void choose() {
        flowIndex = flowAt[played % flowAt.length]
        played += 1
        flow = load.flows[flowIndex]
        taken = take((String) flow.takes)
        if (flow.takes != null && taken == null) {
            flowIndex = load.byName[(String) flow.otherwise]
            flow = load.flows[flowIndex]
        }
        path = render((String) flow.path)
        body = flow.body == null ? '' : render(Json.text(flow.body))
        op = flow.write ? "${load.env.GYM_LOAD_RUN}.${number}.${played}" : null
    }

    /** Moves the id the step took, and remembers what the answer lists. */
    void learn(String became, Answer answer) {
        if (taken != null && flow.takes != null) {
            if (became == 'ok') {
                put((String) flow.keeps, taken)
            } else if (became == 'unknown' || answer.status < 400 || answer.status >= 500) {
                put((String) flow.takes, taken)
            }
        }
        if (!flow.learns || became != 'ok') {
            return
        }
        Map content = answer.body()
        for (Map rule : (List<Map>) flow.learns) {
            Object listed = content[rule.at]
            for (Object item : listed instanceof List ? (List) listed : []) {
                if (fits(rule, item)) {
                    put((String) rule.into, (Number) ((Map) item)[rule.id ?: 'id'])
                }
            }
        }
    }

    private boolean fits(Map rule, Object item) {
        if (!(item instanceof Map) || !(((Map) item)[rule.id ?: 'id'] instanceof Number)) {
            return false
        }
        ((Map) (rule.where ?: [:])).every { Object field, Object wanted ->
            ((Map) item)[field] == (wanted == '{me}' ? me.id : wanted)
        }
    }

    private Number take(String bag) {
        List<Number> ids = bags[bag]
        ids ? ids.remove(random.below(ids.size())) : null
    }

    private void put(String bag, Number id) {
        if (bag == null) {
            return
        }
        List<Number> ids = bags.computeIfAbsent(bag) { [] as List<Number> }
        if (ids.size() < BAG_SIZE && !ids.contains(id)) {
            ids.add(id)
        }
    }

    /** The holes of template.py: a hole that is a whole JSON string becomes a typed value. */
    private String render(String text) {
        Matcher hole = HOLE.matcher(text)
        StringBuilder made = new StringBuilder()
        int end = 0
        while (hole.find()) {
            String typed = hole.group(1)
            String value = Json.text(fill(typed ?: hole.group(2)))
            made.append(text, end, hole.start())
            made.append(typed == null && value.startsWith('"') ? value.substring(1, value.length() - 1) : value)
            end = hole.end()
        }
        made.append(text, end, text.length()).toString()
    }

    private Object fill(String hole) {
        Matcher range = RANGE.matcher(hole)
        if (range.matches()) {
            int low = range.group(1).toInteger()
            return low + random.below(range.group(2).toInteger() - low + 1)
        }
        if (hole.contains('|')) {
            List<String> words = hole.split('\\|') as List<String>
            return words[random.below(words.size())]
        }
        switch (hole) {
            case 'me': return me.id
            case 'user': return number
            case 'name': return me.name
            case 'password': return load.population.password ?: ''
            case 'other': return other()
            case 'tournament': return load.tournaments[random.below(load.tournaments.size())].id
            case 'taken': return taken
            case 'n': return played
            default: throw new IllegalArgumentException("unknown hole {$hole}")
        }
    }

    private Object other() {
        while (true) {
            Map player = load.players[random.below(load.players.size())]
            if (player.id != me.id) {
                return player.id
            }
        }
    }
}
