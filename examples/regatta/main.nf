// Many boats race: many short tasks.
params.boats = 200

process RACE {
    tag "boat $boat"
    input:
    val boat
    output:
    stdout
    script:
    """
    sleep 0.1
    echo "boat $boat took \$(( (RANDOM % 300) + 100 )) seconds"
    """
}

workflow {
    Channel.of(1..params.boats) | RACE | view { it.trim() }
}
