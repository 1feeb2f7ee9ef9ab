import groovy.json.JsonException
import groovy.transform.CompileStatic
import java.util.regex.Matcher
import java.util.regex.Pattern
import org.apache.jmeter.samplers.SampleResult

/** What came back. `status` 0: nothing did. */
@CompileStatic
class Answer {
    static final Pattern DATABASE = ~/(?:^|,)\s*db\s*;[^,]*?dur=([\d.]+)/
    static final String IN_PROGRESS = 'operation-in-progress'
    private static final String NONE = 'Non HTTP response code: '

    final int status
    final String error
    final Map<String, String> headers = [:]
    private final SampleResult result

    Answer(SampleResult result) {
        this.result = result
        String code = result.responseCode
        status = code.isInteger() ? code.toInteger() : 0
        error = status ? null : (code - NONE).tokenize('.').last()
        for (String line : result.responseHeaders.split('\n')) {
            int colon = line.indexOf(':')
            if (colon > 0) {
                headers[line.substring(0, colon).toLowerCase(Locale.ROOT)] = line.substring(colon + 1).trim()
            }
        }
    }

    /** The same classes as outcome() in ledger.py. */
    String outcome() {
        if (status == 0) {
            return error == 'HttpHostConnectException' ? 'refused' : 'unknown' // not connected: not a byte has left
        }
        if (status >= 200 && status < 300) {
            return 'ok'
        }
        if (status == 503) {
            return headers.outcome == 'not-applied' ? 'refused' : 'unknown'
        }
        if (status == 408 || (status == 409 && body().code == IN_PROGRESS)) {
            return 'unknown'
        }
        status >= 400 && status < 500 ? 'refused' : 'unknown'
    }

    Map body() {
        try {
            return Json.object(new String(result.responseData, 'UTF-8'))
        } catch (JsonException | IllegalArgumentException ignored) {
            return [:]
        }
    }

    Long sequence() {
        String text = headers['commit-sequence']
        text?.isLong() ? text.toLong() : null
    }

    Double databaseMs() {
        Matcher found = DATABASE.matcher(headers['server-timing'] ?: '')
        found.find() && found.group(1).isDouble() ? found.group(1).toDouble() : null
    }
}
